// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "protocol.h"

namespace protocol {

// Cuts bytes into lines at line feeds. Drops a line that is too long, and empty lines, as
// LineBuffer does in Python.
class LineBuffer {
 public:
  // The line that this byte completes, without its line feed; valid until the next call.
  std::optional<std::string_view> feed(char byte) {
    if (byte == '\n') {
      const std::string_view line(held_.data(), size_);
      const bool is_line = size_ > 0 && !is_dropping_;
      clear();
      return is_line ? std::optional(line) : std::nullopt;
    }
    if (size_ == held_.size()) {
      is_dropping_ = true;
    } else {
      held_[size_++] = byte;
    }
    return std::nullopt;
  }

  // Forgets the incomplete line.
  void clear() {
    size_ = 0;
    is_dropping_ = false;
  }

 private:
  std::array<char, longest_line> held_{};
  std::size_t size_ = 0;
  bool is_dropping_ = false;
};

}  // namespace protocol
