// SPDX-License-Identifier: Apache-2.0
#include "gate.h"

namespace gate {
namespace {

constexpr std::uint32_t farthest_ahead_ms = 60'000;
constexpr std::uint32_t half_of_uptimes = 1U << 31;

}  // namespace

Timeliness timeliness(std::uint32_t now_ms, std::uint32_t by_ms) {
  const std::uint32_t ahead_ms = by_ms - now_ms;
  if (ahead_ms <= farthest_ahead_ms) {
    return Timeliness::in_time;
  }
  return ahead_ms < half_of_uptimes ? Timeliness::too_far_ahead : Timeliness::late;
}

void Gate::open(std::uint32_t now_ms, std::uint32_t duration_ms, std::uint32_t silence_ms,
                std::uint8_t port) {
  is_open_ = true;
  port_ = port;
  opened_ms_ = now_ms;
  heard_ms_ = now_ms;
  duration_ms_ = duration_ms;
  silence_ms_ = silence_ms;
}

void Gate::heard(std::uint32_t now_ms, std::uint8_t port) {
  if (port == port_) {
    heard_ms_ = now_ms;
  }
}

void Gate::advance(std::uint32_t now_ms) {
  if (now_ms - opened_ms_ >= duration_ms_ || now_ms - heard_ms_ >= silence_ms_) {
    is_open_ = false;
  }
}

std::uint32_t Gate::left_ms(std::uint32_t now_ms) const {
  const std::uint32_t open_ms = now_ms - opened_ms_;
  return is_open_ && open_ms < duration_ms_ ? duration_ms_ - open_ms : 0;
}

}  // namespace gate
