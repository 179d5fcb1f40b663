// What the library shows to the outside: everything else in it is hidden.
#pragma once

#if defined(__GNUC__)
#define GRU_API __attribute__((visibility("default")))
#else
#define GRU_API
#endif
