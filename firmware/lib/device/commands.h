// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "gate.h"
#include "protocol.h"

namespace device {

constexpr std::array<std::uint16_t, 3> firmware_version = {1, 0, 0};

// Obeys the gate commands of one port, and answers them.
class Commands {
 public:
  explicit Commands(std::uint8_t port) : port_(port) {}

  // Gives the answer to a line. A damaged line gets none, and neither does a line of the device's
  // own: that is an echo, and the answer would come back for ever.
  std::optional<protocol::Message> take(std::uint32_t now_ms, const protocol::Decoded& decoded,
                                        gate::Gate& gate);

  // The computer has gone; the next one must send hi first.
  void forget() { *this = Commands(port_); }

 private:
  std::optional<protocol::Reason> open(std::uint32_t now_ms, std::uint16_t sequence,
                                       const protocol::Open& command, gate::Gate& gate);

  std::uint8_t port_;
  bool has_said_hi_ = false;
  // The last `open` that was done. When it is sent again, it is answered but not done again. `rest`
  // and `ask` do no harm when done twice.
  struct Done {
    std::uint16_t sequence;
    protocol::Open command;
  };
  std::optional<Done> done_;
};

}  // namespace device
