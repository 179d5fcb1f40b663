// POSIX file reading and atomic writing.
#include "file_io.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace gru {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class File {
 public:
  File(const std::string& path, int flags) : path_(path), fd_(::open(path.c_str(), flags, 0666)) {
    if (fd_ < 0) fail(path_);
  }
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  void sync() {
    if (::fsync(fd_) != 0) fail(path_);
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

}  // namespace

std::string read_file(const std::string& path) { return File(path, O_RDONLY | O_CLOEXEC).read(); }

void write_file_atomically(const std::string& path, const std::string& bytes) {
  const std::string sibling = path + ".tmp" + std::to_string(::getpid());
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  File file(sibling, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
  try {
    file.write(bytes);
    file.sync();
    file.close();
    if (::rename(sibling.c_str(), path.c_str()) != 0) fail(path);
  } catch (...) {
    ::unlink(sibling.c_str());
    throw;
  }
  File(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC).sync();
}

}  // namespace gru
