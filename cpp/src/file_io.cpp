// POSIX file reading and atomic writing.
#include "file_io.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace gru {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class File {
 public:
  File(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }

  void sync() {
    if (::fsync(fd_) != 0) fail(path_);
  }
  // Writing over a file keeps its permissions.
  void keep_mode_of(const std::string& path) {
    struct stat info;
    if (::stat(path.c_str(), &info) == 0) ::fchmod(fd_, info.st_mode & 07777);
  }
  void close() {
    const int fd = fd_;
    fd_ = -1;
    if (::close(fd) != 0) fail(path_);
  }
  void write(const std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t count = ::write(fd_, bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno != EINTR) fail(path_);
      if (count > 0) done += static_cast<std::size_t>(count);
    }
  }
  std::string read() {
    struct stat info;
    if (::fstat(fd_, &info) != 0) fail(path_);
    if (S_ISDIR(info.st_mode)) {
      errno = EISDIR;
      fail(path_);
    }
    std::string bytes(static_cast<std::size_t>(info.st_size), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = ::read(fd_, &bytes[done], bytes.size() - done);
      if (count == 0) break;
      if (count < 0 && errno != EINTR) fail(path_);
      if (count > 0) done += static_cast<std::size_t>(count);
    }
    bytes.resize(done);
    return bytes;
  }

 private:
  std::string path_;
  int fd_;
};

// The system would read a path only up to its first NUL.
void refuse_nul(const std::string& path) {
  if (path.find('\0') == std::string::npos) return;
  throw std::invalid_argument("path must not contain a NUL character");
}

File open_file(const std::string& path, int flags) {
  refuse_nul(path);
  const int fd = ::open(path.c_str(), flags);
  if (fd < 0) fail(path);
  return File(path, fd);
}

}  // namespace

std::string read_file(const std::string& path) {
  return open_file(path, O_RDONLY | O_CLOEXEC).read();
}

namespace {

// A short name beside `path` that no other writer has: the file is made here and must not exist.
File make_sibling(const std::string& path, const std::string& folder, std::string& name) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    name = folder + ".gru-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return File(path, fd);  // errors name the file that is meant
    if (errno != EEXIST) fail(path);
  }
}

}  // namespace

void write_file_atomically(const std::string& path, const std::string& bytes) {
  refuse_nul(path);
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "./" : path.substr(0, slash + 1);
  std::string sibling;
  File file = make_sibling(path, folder, sibling);
  try {
    file.keep_mode_of(path);
    file.write(bytes);
    file.sync();
    file.close();
    if (::rename(sibling.c_str(), path.c_str()) != 0) fail(path);
  } catch (...) {
    ::unlink(sibling.c_str());
    throw;
  }
  open_file(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC).sync();
}

}  // namespace gru
