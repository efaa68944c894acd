// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "gate.h"
#include "protocol.h"

namespace device {

constexpr std::array<std::uint16_t, 3> firmware_version = {1, 0, 0};

// Does what the lines of one port tell the gate, and answers.
class Commands {
 public:
  explicit Commands(std::uint8_t port) : port_(port) {}

  // The answer to a line. None to a damaged one, and none to one of the device's own: that is an
  // echo, and an answer to it would come back for ever.
  std::optional<protocol::Message> take(std::uint32_t now_ms, const protocol::Decoded& decoded,
                                        gate::Gate& gate);

  // The computer has gone: whoever comes next says hi first.
  void forget() { *this = Commands(port_); }

 private:
  std::optional<protocol::Reason> open(std::uint32_t now_ms, std::uint16_t sequence,
                                       const protocol::Open& command, gate::Gate& gate);

  std::uint8_t port_;
  bool has_said_hi_ = false;
  // The last `open` that was done; sent again, it is answered and not done again. `rest` and `ask`
  // do no harm when they are done twice.
  struct Done {
    std::uint16_t sequence;
    protocol::Open command;
  };
  std::optional<Done> done_;
};

}  // namespace device
