/* The C interface used from C99: every function once with good arguments, and what goes wrong. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gru/gru.h"

static int failures = 0;

static void check(int right, const char* what, int line) {
  if (right) return;
  ++failures;
  fprintf(stderr, "line %d: %s; last error: %s\n", line, what, gru_last_error());
}
#define CHECK(what) check(what, #what, __LINE__)

/* The whole file in memory. */
static unsigned char* read_all(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  unsigned char* bytes;
  if (!file) exit(2);
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  bytes = malloc(*size);
  if (!bytes || fread(bytes, 1, *size, file) != *size) exit(2);
  fclose(file);
  return bytes;
}

/* argv[1]: a float32 model of 3 features and 2 outputs a step. */
int main(int argc, char** argv) {
  enum { STEPS = 7, IN = 3, OUT = 2 };
  float x[STEPS * IN], whole[STEPS * OUT], y[STEPS * OUT];
  gru_model *model = NULL, *copy = NULL;
  gru_stream *stream = NULL, *fork = NULL;
  gru_info info;
  size_t size, needed, state_bytes;
  unsigned char* bytes;
  char text[400];
  void* state;
  int t;
  if (argc != 2) return 2;
  for (t = 0; t < STEPS * IN; ++t) x[t] = (float)sin(t);

  CHECK(gru_abi_version() == GRU_ABI_VERSION);
  CHECK(strlen(gru_version()) >= 5);
  CHECK(strcmp(gru_last_error(), "") == 0);
  CHECK(strcmp(gru_status_name(GRU_BUSY), "GRU_BUSY") == 0);
  CHECK(strcmp(gru_status_name(99), "unknown") == 0);

  CHECK(gru_model_load(argv[1], &model) == GRU_OK);
  CHECK(gru_model_info(model, &info) == GRU_OK);
  CHECK(info.input_dtype == GRU_FLOAT32 && info.output_dtype == GRU_FLOAT32);
  CHECK(info.input_features == IN && info.output_features == OUT && !info.pools);
  CHECK(gru_model_describe(model, NULL, 0, &needed) == GRU_OK);
  CHECK(needed > 1 && needed < sizeof text);
  CHECK(gru_model_describe(model, text, sizeof text, NULL) == GRU_OK);
  CHECK(strlen(text) + 1 == needed);
  CHECK(gru_model_describe(model, text, 5, NULL) == GRU_OK && strlen(text) == 4);
  CHECK(gru_model_forward(model, 1, STEPS, x, sizeof x, NULL, whole, sizeof whole) == GRU_OK);

  CHECK(gru_stream_create(model, 1, &stream) == GRU_OK);
  for (t = 0; t < 3; ++t) {
    CHECK(gru_stream_step(stream, x + t * IN, IN * sizeof *x, y + t * OUT, OUT * sizeof *y) == 0);
  }
  CHECK(gru_stream_state_bytes(stream, &state_bytes) == GRU_OK);
  state = malloc(state_bytes);
  CHECK(gru_stream_get_state(stream, state, state_bytes) == GRU_OK);
  CHECK(gru_stream_fork(stream, &fork) == GRU_OK);
  CHECK(gru_stream_run(stream, STEPS - 3, x + 3 * IN, (STEPS - 3) * IN * sizeof *x, y + 3 * OUT,
                       (STEPS - 3) * OUT * sizeof *y) == GRU_OK);
  CHECK(memcmp(y, whole, sizeof y) == 0);
  CHECK(gru_stream_step(fork, x + 3 * IN, IN * sizeof *x, y, OUT * sizeof *y) == GRU_OK);
  CHECK(memcmp(y, whole + 3 * OUT, OUT * sizeof *y) == 0);
  CHECK(gru_stream_set_state(fork, state, state_bytes) == GRU_OK);
  CHECK(gru_stream_step(fork, x + 3 * IN, IN * sizeof *x, y, OUT * sizeof *y) == GRU_OK);
  CHECK(memcmp(y, whole + 3 * OUT, OUT * sizeof *y) == 0);
  CHECK(gru_stream_reset(fork, -1) == GRU_OK && gru_stream_reset(fork, 0) == GRU_OK);
  CHECK(gru_stream_step(fork, x, IN * sizeof *x, y, OUT * sizeof *y) == GRU_OK);
  CHECK(memcmp(y, whole, OUT * sizeof *y) == 0);
  free(state);

  bytes = read_all(argv[1], &size);
  CHECK(gru_model_load_memory(bytes, size, &copy) == GRU_OK);
  bytes[size - 1] ^= 1;
  CHECK(gru_model_destroy(model) == GRU_OK); /* the streams live on */
  CHECK(gru_model_load_memory(bytes, size, &model) == GRU_INVALID && !model);
  CHECK(strstr(gru_last_error(), "checksum") != NULL);
  CHECK(gru_model_load_memory(bytes, 3, &model) == GRU_INVALID && !model);
  free(bytes);
  CHECK(gru_stream_reset(stream, -1) == GRU_OK);
  CHECK(gru_stream_run(stream, STEPS, x, sizeof x, y, sizeof y) == GRU_OK);
  CHECK(memcmp(y, whole, sizeof y) == 0);

  CHECK(gru_model_load("/nowhere/model", &model) == GRU_SYSTEM && !model);
  CHECK(strstr(gru_last_error(), "/nowhere/model") != NULL);
  CHECK(gru_model_load(NULL, &model) == GRU_INVALID);
  CHECK(strcmp(gru_last_error(), "path must not be NULL") == 0);
  CHECK(gru_model_load(argv[1], NULL) == GRU_INVALID);
  CHECK(gru_stream_step(stream, x, 5, y, OUT * sizeof *y) == GRU_INVALID);
  CHECK(strcmp(gru_last_error(), "x_bytes must be 12, got 5") == 0);
  CHECK(gru_stream_step(stream, NULL, IN * sizeof *x, y, OUT * sizeof *y) == GRU_INVALID);
  CHECK(gru_stream_run(stream, -1, x, 0, y, 0) == GRU_INVALID);
  CHECK(gru_stream_run(stream, INT64_MAX, x, 0, y, 0) == GRU_INVALID);
  CHECK(gru_stream_reset(stream, 1) == GRU_INVALID);
  CHECK(gru_stream_create(copy, 0, &fork) == GRU_INVALID && !fork);
  CHECK(gru_model_info((gru_model*)stream, &info) == GRU_INVALID);
  CHECK(gru_model_destroy((gru_model*)stream) == GRU_INVALID);
  CHECK(gru_stream_reset((gru_stream*)copy, -1) == GRU_INVALID);
  CHECK(gru_stream_destroy(NULL) == GRU_OK && gru_model_destroy(NULL) == GRU_OK);
  CHECK(gru_stream_destroy(stream) == GRU_OK);
  CHECK(gru_stream_destroy(stream) == GRU_INVALID);
  CHECK(gru_stream_step(stream, x, IN * sizeof *x, y, OUT * sizeof *y) == GRU_INVALID);
  CHECK(strstr(gru_last_error(), "destroyed") != NULL);
  CHECK(gru_model_info((gru_model*)x, &info) == GRU_INVALID);
  CHECK(gru_model_destroy(copy) == GRU_OK);
  if (!failures) printf("the C interface: all as it should be\n");
  return failures ? 1 : 0;
}
