/* gru from C (C99), and from whatever calls C: load a model, run whole sequences, stream steps.

   Every function that can fail returns a gru_status; gru_last_error() then says in words what was
   expected and what came. No call ends the process: null pointers, wrong sizes, unknown handles and
   handles that were destroyed are all GRU_INVALID. Sizes of arrays are passed in bytes and must be
   exactly right, so that a float where a double belongs does not go unnoticed. Arrays that are read
   and arrays that are written must not overlap.

   Threads: a model may be used by any number of threads; a stream by one at a time (a second one
   gets GRU_BUSY). A handle must not be destroyed while another thread is inside a call on it. */
#ifndef GRU_H
#define GRU_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define GRU_C_API __attribute__((visibility("default")))
#else
#define GRU_C_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Grows when a function or a struct here changes its meaning; new functions do not change it. */
#define GRU_ABI_VERSION 1

typedef enum gru_status {
  GRU_OK = 0,
  GRU_INVALID = 1, /* an argument, or a file's content, is not what it must be */
  GRU_SYSTEM = 2,  /* the system refused: no such file, no permission */
  GRU_MEMORY = 3,  /* not enough memory */
  GRU_BUSY = 4,    /* another thread is inside a call on this stream */
  GRU_INTERNAL = 5 /* a fault of this library's own */
} gru_status;

typedef enum gru_dtype { GRU_FLOAT32 = 0, GRU_FLOAT64 = 1, GRU_INT64 = 2 } gru_dtype;

/* Handles: never dereferenced, told from one another by value. */
typedef struct gru_model gru_model;
typedef struct gru_stream gru_stream;

typedef struct gru_info {
  int32_t input_dtype;     /* gru_dtype of x: the model's, or GRU_INT64 where it takes tokens */
  int32_t output_dtype;    /* gru_dtype of y */
  int64_t input_features;  /* numbers a step has, 1 token; 0: any */
  int64_t output_features; /* numbers an output has */
  int32_t pools;           /* not 0: one output a sequence; 0: one a step */
  int32_t layers;
} gru_info;

GRU_C_API const char* gru_version(void); /* "0.1.0" */
GRU_C_API int gru_abi_version(void);     /* GRU_ABI_VERSION of the library that runs */
/* Of the calling thread's last call that failed; "" before one has. Valid until its next failure.
 */
GRU_C_API const char* gru_last_error(void);
GRU_C_API const char* gru_status_name(int status); /* "GRU_OK", ...; "unknown" for any other */

/* From a model file, or from its bytes, as in a header that gru.export made: they are not needed
   afterwards. On failure *model is NULL. */
GRU_C_API gru_status gru_model_load(const char* path, gru_model** model);
GRU_C_API gru_status gru_model_load_memory(const void* bytes, size_t size, gru_model** model);
/* Its streams live on. NULL is allowed and does nothing. */
GRU_C_API gru_status gru_model_destroy(gru_model* model);

GRU_C_API gru_status gru_model_info(gru_model* model, gru_info* info);
/* One line of text a layer, zero-terminated, cut to `size` bytes; *needed (may be NULL): the bytes
   of all of it. text may be NULL where size is 0. */
GRU_C_API gru_status gru_model_describe(gru_model* model, char* text, size_t size, size_t* needed);

/* x: (batch, steps, input_features), or tokens (batch, steps); lengths: (batch), how many steps of
   each count, or NULL: all; y: (batch, steps, output_features), or (batch, output_features) where
   the model pools. */
GRU_C_API gru_status gru_model_forward(gru_model* model, int64_t batch, int64_t steps,
                                       const void* x, size_t x_bytes, const int64_t* lengths,
                                       void* y, size_t y_bytes);

/* A stream of `batch` sequences side by side, all with a state of zero. It keeps what it needs of
   the model. On failure *stream is NULL. */
GRU_C_API gru_status gru_stream_create(gru_model* model, int64_t batch, gru_stream** stream);
/* Another stream with the same state, which then goes its own way. */
GRU_C_API gru_status gru_stream_fork(gru_stream* stream, gru_stream** fork);
GRU_C_API gru_status gru_stream_destroy(gru_stream* stream); /* NULL does nothing */

/* x: (batch, input_features), or tokens (batch); y: (batch, output_features). No allocation, no
   lock, no system call. */
GRU_C_API gru_status gru_stream_step(gru_stream* stream, const void* x, size_t x_bytes, void* y,
                                     size_t y_bytes);
/* A block of steps: x (batch, steps, input_features), y (batch, steps, output_features). */
GRU_C_API gru_status gru_stream_run(gru_stream* stream, int64_t steps, const void* x,
                                    size_t x_bytes, void* y, size_t y_bytes);
/* One sequence starts anew; -1: all of them. */
GRU_C_API gru_status gru_stream_reset(gru_stream* stream, int64_t row);

/* All that a stream carries, to keep and to put back, as numbers of the model's dtype. */
GRU_C_API gru_status gru_stream_state_bytes(gru_stream* stream, size_t* bytes);
GRU_C_API gru_status gru_stream_get_state(gru_stream* stream, void* state, size_t bytes);
GRU_C_API gru_status gru_stream_set_state(gru_stream* stream, const void* state, size_t bytes);

#ifdef __cplusplus
}
#endif

#endif /* GRU_H */
