// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

namespace device {
namespace {

bool are_equal(const protocol::Open& one, const protocol::Open& other) {
  return one.duration_ms == other.duration_ms && one.by_ms == other.by_ms &&
         one.silence_ms == other.silence_ms;
}

}  // namespace

std::optional<protocol::Message> Commands::take(std::uint32_t now_ms,
                                                const protocol::Decoded& decoded,
                                                gate::Gate& gate) {
  if (std::holds_alternative<protocol::Broken>(decoded)) {
    return std::nullopt;
  }
  if (const auto* refused = std::get_if<protocol::Refused>(&decoded)) {
    gate.heard(now_ms, port_);
    return protocol::Refusal{now_ms, refused->sequence, refused->reason};
  }
  const auto& [sequence, message] = *std::get_if<protocol::Line>(&decoded);
  std::optional<protocol::Reason> refusal;
  if (std::holds_alternative<protocol::Hi>(message)) {
    gate.heard(now_ms, port_);
    forget();
    has_said_hi_ = true;
    return protocol::Hello{now_ms, firmware_version};
  }
  if (const auto* command = std::get_if<protocol::Open>(&message)) {
    gate.heard(now_ms, port_);
    refusal = open(now_ms, sequence, *command, gate);
  } else if (std::holds_alternative<protocol::Rest>(message)) {
    gate.rest();
  } else if (std::holds_alternative<protocol::Ask>(message)) {
    gate.heard(now_ms, port_);
  } else {
    return std::nullopt;
  }
  if (refusal) {
    return protocol::Refusal{now_ms, sequence, *refusal};
  }
  return protocol::GateState{now_ms, sequence, gate.is_open(), gate.left_ms(now_ms)};
}

std::optional<protocol::Reason> Commands::open(std::uint32_t now_ms, std::uint16_t sequence,
                                               const protocol::Open& command, gate::Gate& gate) {
  if (!has_said_hi_) {
    return protocol::Reason::hi;
  }
  if (done_ && done_->sequence == sequence && are_equal(done_->command, command)) {
    return std::nullopt;
  }
  switch (gate::timeliness(now_ms, command.by_ms)) {
    case gate::Timeliness::late:
      return protocol::Reason::late;
    case gate::Timeliness::too_far_ahead:
      return protocol::Reason::range;
    case gate::Timeliness::in_time:
      break;
  }
  gate.open(now_ms, command.duration_ms, command.silence_ms, port_);
  done_ = Done{sequence, command};
  return std::nullopt;
}

}  // namespace device
