/* Loads a model from a header, and runs it. */
#include <gru/gru.h>
#include <stdio.h>

#include "weights.h"

int main(void) {
  const float x[4 * 3] = {1, 0, -1, 2, 1, 0, -2, 1, 1, 0, 0, 3};
  float y[4 * 2];
  gru_model* model;
  int i;
  if (gru_model_load_memory(weights, weights_size, &model) != GRU_OK ||
      gru_model_forward(model, 1, 4, x, sizeof x, NULL, y, sizeof y) != GRU_OK) {
    fprintf(stderr, "%s\n", gru_last_error());
    return 1;
  }
  for (i = 0; i < 8; ++i) printf("%.9g\n", (double)y[i]);
  return gru_model_destroy(model) != GRU_OK;
}
