// What a real-time thread asks of a step: no system call, no lock, no change of the caller's
// floating-point mode. (No allocation: test_allocation.cpp, which counts them.)
#include <doctest/doctest.h>

#if defined(__linux__) && defined(__x86_64__)

#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xmmintrin.h>

#include <atomic>
#include <cstddef>

#include "each_stream.hpp"

namespace {
std::atomic<long> locks{0};
}

// In place of the C library's: counts, and passes on.
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const auto next = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  ++locks;
  return next(mutex);
}

namespace gru {
namespace {

using test::each_stream;
using test::work;

// From here on every system call but exit_group ends the process with SIGSYS.
void allow_no_system_call() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog program = {sizeof rules / sizeof rules[0], rules};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    _exit(3);
  }
}

template <class Child>
int status_of(const Child& child) {
  const pid_t pid = fork();
  if (pid == 0) {
    child();
    syscall(SYS_exit_group, 7);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return status;
}

TEST_CASE("a step makes no system call") {
  each_stream([](Stream stream) {
    work(stream);  // the numbers it is given are made once
    const int status = status_of([&] {
      allow_no_system_call();
      work(stream);
    });
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
  });
  const int status = status_of([] {  // the check itself can fail
    allow_no_system_call();
    getppid();
  });
  CHECK(WIFSIGNALED(status));
}

TEST_CASE("a step takes no lock") {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  long before = locks;
  pthread_mutex_lock(&mutex);  // the check itself can fail
  pthread_mutex_unlock(&mutex);
  CHECK(locks == before + 1);
  each_stream([](Stream stream) {
    const long so_far = locks;
    work(stream);
    CHECK(locks == so_far);
  });
}

TEST_CASE("the caller's floating-point mode is left as it was, and does not show") {
  each_stream([](Stream stream) {
    Stream other = stream.fork();
    const test::Outputs expected = work(stream);
    const unsigned mode = _mm_getcsr();
    constexpr unsigned kTowardsZero = 0x6000;
    _mm_setcsr(mode | kTowardsZero);
    const test::Outputs found = work(other);
    const unsigned after = _mm_getcsr();
    _mm_setcsr(mode);
    CHECK(after == (mode | kTowardsZero));
    CHECK(found == expected);
  });
}

}  // namespace
}  // namespace gru

#endif
