// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace twin {

// One serial port of the twin: a pty whose bytes take as long as over a line of 115200 baud.
class SerialPort {
 public:
  // `path` becomes a symbolic link to the pty.
  explicit SerialPort(std::string path);
  ~SerialPort();
  SerialPort(const SerialPort&) = delete;
  SerialPort& operator=(const SerialPort&) = delete;

  const std::string& path() const { return path_; }

  // Pulls the cable and plugs it in again. An unplugged port has no path.
  void unplug();
  void plug();

  // Tells whether somebody has opened the port.
  bool has_computer() const;

  // File descriptor to wait on; below 0 when unplugged.
  int descriptor() const { return master_; }

  // Gives what the line has brought until now.
  std::string read(std::int64_t now_ns);

  // Sends as many of these bytes as the line had time for since the last call, and returns how
  // many. Bytes that a computer does not fetch are lost.
  std::size_t write(std::string_view bytes, std::int64_t now_ns);

 private:
  std::string path_;
  int master_ = -1;
  std::int64_t read_ns_ = 0;
  std::int64_t written_ns_ = 0;
};

}  // namespace twin
