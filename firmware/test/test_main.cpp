// SPDX-License-Identifier: Apache-2.0
//
// Runs src/main.cpp on the stub: pins and bytes come and go as they should.
#include <cstdlib>
#include <thread>

#include "Arduino.h"
#include "BluetoothSerial.h"
#include "board.h"
#include "check.h"
#include "device.h"

namespace {

void run_ms(std::uint64_t duration_ms) {
  const std::uint64_t end_us = stub::pins.now_us + 1000 * duration_ms;
  while (stub::pins.now_us < end_us) {
    loop();
  }
}

std::string line(std::uint16_t sequence, const protocol::Message& message) {
  return std::string(protocol::encode(sequence, message).view());
}

bool gate_pin_says_open() {
  if constexpr (board::gate_kind == board::GateKind::relay) {
    return stub::pins.mode[board::gate_pin] == OUTPUT && stub::pins.level[board::gate_pin] == HIGH;
  } else {
    // 2 ms of 20 ms, of 65536.
    return stub::pins.channel_of_pin.at(board::gate_pin) == 0 && stub::pins.duty[0] == 6553;
  }
}

bool gate_pin_says_rest() {
  if constexpr (board::gate_kind == board::GateKind::relay) {
    return stub::pins.mode[board::gate_pin] == OUTPUT && stub::pins.level[board::gate_pin] == LOW;
  } else {
    return stub::pins.duty[0] == 3276;
  }
}

}  // namespace

TEST(set_up_rests_and_says_hello) {
  setup();
  CHECK(gate_pin_says_rest());
  CHECK(stub::pins.mode[board::button_pin] == INPUT_PULLUP);
  CHECK(Serial.baud_ == 115200);
  CHECK(stub::bluetooth().name == board::bluetooth_name);
  CHECK(stub::pins.watchdog_s == 1);
  run_ms(5);
  CHECK(Serial.take().find(",hello,") != std::string::npos);
}

TEST(the_loop_feeds_the_watchdog) {
  const int before = stub::pins.watchdog_feeds;
  loop();
  CHECK(stub::pins.watchdog_feeds == before + 1);
}

TEST(knobs_and_button_are_read) {
  stub::pins.analog[34] = 4095;
  stub::pins.analog[39] = 0;
  stub::pins.level[board::button_pin] = LOW;
  run_ms(100);
  Serial.take();
  run_ms(30);
  const std::string said = Serial.take();
  CHECK(said.find(",1,1,34,4095,1000,39,0,0*") != std::string::npos);
  stub::pins.level[board::button_pin] = HIGH;
}

TEST(usb_opens_the_gate_and_the_window_ends) {
  Serial.feed(line(1, protocol::Hi{}));
  const auto by_ms = static_cast<std::uint32_t>(millis() + 1000);
  Serial.feed(line(2, protocol::Open{200, by_ms, 1000}));
  run_ms(50);
  CHECK(gate_pin_says_open());
  run_ms(200);
  CHECK(gate_pin_says_rest());
}

TEST(bluetooth_opens_the_gate) {
  BluetoothSerial& bluetooth = stub::bluetooth();
  bluetooth.has_client = true;
  // Its task runs in real time; the loop uses the stub's clock.
  const auto wait_for = [&](const char* words) {
    std::string said;
    for (int turn = 0; turn < 5000 && said.find(words) == std::string::npos; ++turn) {
      run_ms(1);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      said += bluetooth.take();
    }
    return said.find(words) != std::string::npos;
  };
  CHECK(wait_for(",read,"));
  bluetooth.feed(line(1, protocol::Hi{}));
  CHECK(wait_for(",hello,"));
  const auto by_ms = static_cast<std::uint32_t>(millis() + 30000);
  bluetooth.feed(line(2, protocol::Open{60000, by_ms, 60000}));
  CHECK(wait_for(",2,open,"));
  CHECK(gate_pin_says_open());
  bluetooth.feed(line(3, protocol::Rest{}));
  CHECK(wait_for(",3,rest,0*"));
  CHECK(gate_pin_says_rest());
  bluetooth.has_client = false;
}

TEST(a_computer_that_does_not_read_stops_nothing) {
  Serial.room = 0;
  run_ms(2000);
  Serial.take();
  Serial.room = 128;
  run_ms(100);
  CHECK(Serial.take().find(",read,") != std::string::npos);
}

TEST(the_display_is_drawn_where_there_is_one) {
  CHECK((stub::pins.glyphs > 0) == board::has_display);
}

int main() {
  const int result = check::run_all();
  std::fflush(stdout);
  // The Bluetooth task never ends, so nothing that it uses may be destroyed.
  std::_Exit(result);
}
