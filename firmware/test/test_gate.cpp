// SPDX-License-Identifier: Apache-2.0
#include "check.h"
#include "gate.h"

namespace {

constexpr std::uint8_t bluetooth = 0;
constexpr std::uint8_t usb = 1;
constexpr std::uint32_t last_uptime = 0xffffffff;

}  // namespace

TEST(a_gate_rests_at_start) {
  gate::Gate gate;
  gate.advance(0);
  CHECK(!gate.is_open());
  CHECK(gate.left_ms(0) == 0);
}

TEST(a_window_ends_to_the_millisecond_wherever_the_clock_stands) {
  for (const std::uint32_t start_ms : {0U, 5000U, last_uptime - 50, last_uptime}) {
    gate::Gate gate;
    gate.open(start_ms, 120, 60'000, usb);
    for (std::uint32_t passed_ms = 0; passed_ms < 120; ++passed_ms) {
      gate.advance(start_ms + passed_ms);
      CHECK(gate.is_open());
      CHECK(gate.left_ms(start_ms + passed_ms) == 120 - passed_ms);
    }
    gate.advance(start_ms + 120);
    CHECK(!gate.is_open());
    CHECK(gate.left_ms(start_ms + 120) == 0);
  }
}

TEST(open_while_open_begins_anew) {
  gate::Gate gate;
  gate.open(0, 100, 60'000, usb);
  gate.open(90, 100, 60'000, usb);
  gate.advance(150);
  CHECK(gate.is_open());
  gate.advance(190);
  CHECK(!gate.is_open());
}

TEST(silence_of_the_port_that_opened_ends_the_window) {
  gate::Gate gate;
  gate.open(last_uptime - 10, 60'000, 100, bluetooth);
  gate.heard(50, usb);
  gate.advance(89);
  CHECK(!gate.is_open());
  gate.open(1000, 60'000, 100, bluetooth);
  gate.heard(1090, bluetooth);
  gate.advance(1189);
  CHECK(gate.is_open());
  gate.advance(1190);
  CHECK(!gate.is_open());
}

TEST(rest_rests_now) {
  gate::Gate gate;
  gate.open(0, 100, 100, usb);
  gate.rest();
  CHECK(!gate.is_open());
}

TEST(a_command_is_void_after_its_time_and_too_early_a_minute_ahead) {
  using gate::Timeliness;
  using gate::timeliness;
  for (const std::uint32_t now_ms : {0U, 70'000U, last_uptime - 100}) {
    CHECK(timeliness(now_ms, now_ms) == Timeliness::in_time);
    CHECK(timeliness(now_ms, now_ms + 60'000) == Timeliness::in_time);
    CHECK(timeliness(now_ms, now_ms + 60'001) == Timeliness::too_far_ahead);
    CHECK(timeliness(now_ms, now_ms - 1) == Timeliness::late);
    CHECK(timeliness(now_ms, now_ms - 1'000'000'000) == Timeliness::late);
  }
}
