// SPDX-License-Identifier: Apache-2.0
#include "serial_port.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace twin {
namespace {

// Ten bits a byte: eight, a start bit and a stop bit.
constexpr std::int64_t byte_ns = 10 * 1'000'000'000LL / 115'200;

int checked(int result, const char* what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

// Number of bytes that the line had time for since `last_ns`, at most `wanted`. Time in which no
// byte waited is lost.
std::size_t bytes_due(std::int64_t& last_ns, std::int64_t now_ns, std::size_t wanted) {
  const auto due = static_cast<std::size_t>((now_ns - last_ns) / byte_ns);
  if (due > wanted) {
    last_ns = now_ns;
    return wanted;
  }
  last_ns += static_cast<std::int64_t>(due) * byte_ns;
  return due;
}

}  // namespace

SerialPort::SerialPort(std::string path) : path_(std::move(path)) { plug(); }

SerialPort::~SerialPort() { unplug(); }

void SerialPort::unplug() {
  if (master_ >= 0) {
    ::unlink(path_.c_str());
    ::close(master_);
    master_ = -1;
  }
}

void SerialPort::plug() {
  if (master_ >= 0) {
    return;
  }
  master_ = checked(::posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), "posix_openpt");
  checked(::grantpt(master_), "grantpt");
  checked(::unlockpt(master_), "unlockpt");
  std::array<char, 128> name{};
  checked(-::ptsname_r(master_, name.data(), name.size()), "ptsname_r");
  termios settings{};
  checked(::tcgetattr(master_, &settings), "tcgetattr");
  ::cfmakeraw(&settings);
  checked(::tcsetattr(master_, TCSANOW, &settings), "tcsetattr");
  // The pty can tell whether a computer has it open only after it was opened and closed once.
  ::close(checked(::open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC), name.data()));
  ::unlink(path_.c_str());
  checked(::symlink(name.data(), path_.c_str()), path_.c_str());
}

bool SerialPort::has_computer() const {
  pollfd master{master_, 0, 0};
  return master_ >= 0 && ::poll(&master, 1, 0) >= 0 && (master.revents & POLLHUP) == 0;
}

std::string SerialPort::read(std::int64_t now_ns) {
  std::array<char, 4096> bytes{};
  const std::size_t due = bytes_due(read_ns_, now_ns, bytes.size());
  const ssize_t count = master_ < 0 ? 0 : ::read(master_, bytes.data(), due);
  if (count < static_cast<ssize_t>(due)) {
    read_ns_ = now_ns;
  }
  return {bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
}

std::size_t SerialPort::write(std::string_view bytes, std::int64_t now_ns) {
  const std::size_t due = bytes_due(written_ns_, now_ns, bytes.size());
  if (has_computer() && due > 0) {
    // A computer that does not read loses bytes, as on a line without flow control.
    [[maybe_unused]] const ssize_t count = ::write(master_, bytes.data(), due);
  }
  return due;
}

}  // namespace twin
