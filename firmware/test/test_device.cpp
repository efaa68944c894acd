// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "check.h"
#include "device.h"
#include "line_buffer.h"
#include "meaning.h"

namespace {

constexpr std::size_t bluetooth = 0;
constexpr std::size_t usb = 1;

// A device with a clock; its output on a port, in words and without the time.
class Bench {
 public:
  explicit Bench(std::uint32_t start_ms = 0) : now_ms(start_ms), the_device(start_ms) {
    heard(bluetooth);
    heard(usb);
  }

  void pass(std::uint32_t duration_ms) {
    for (; duration_ms > 0; --duration_ms) {
      ++now_ms;
      the_device.tick(now_ms, conversions, button_is_down);
    }
  }

  void say(std::size_t port, std::string_view bytes) {
    for (const char byte : bytes) {
      the_device.receive(port, byte, now_ms);
    }
  }

  void say(std::size_t port, std::uint16_t sequence, const protocol::Message& message) {
    say(port, protocol::encode(sequence, message).view());
  }

  std::vector<protocol::Line> heard(std::size_t port) {
    std::vector<protocol::Line> lines;
    protocol::LineBuffer buffer;
    for (const char byte : the_device.to_send(port)) {
      if (const auto text = buffer.feed(byte)) {
        const auto decoded = protocol::decode(*text);
        const auto* line = std::get_if<protocol::Line>(&decoded);
        CHECK(line != nullptr);
        lines.push_back(*line);
      }
    }
    the_device.sent(port, the_device.to_send(port).size());
    return lines;
  }

  // The one answer on a port, without sequence and uptime.
  std::string answer(std::size_t port) {
    std::string found;
    for (const auto& line : heard(port)) {
      if (!std::holds_alternative<protocol::Readings>(line.message)) {
        CHECK(found.empty());
        const std::string words = meaning::of(line);
        const std::size_t type = words.find(' ') + 1;
        const std::size_t uptime = words.find(' ', type);
        found = words.substr(type, uptime - type) + words.substr(words.find(' ', uptime + 1));
      }
    }
    return found;
  }

  bool is_open() { return the_device.gate_is_open(now_ms); }

  std::uint32_t now_ms;
  device::Device the_device;
  std::array<device::Conversions, device::channels.size()> conversions{};
  bool button_is_down = false;
};

std::string row_of(const device::Text& text, std::size_t row) {
  return {text[row].begin(), text[row].end()};
}

}  // namespace

TEST(it_says_hello_at_start_on_both_ports) {
  device::Device the_device(7);
  for (const std::size_t port : {bluetooth, usb}) {
    const std::string said(the_device.to_send(port));
    CHECK(said.rfind("$1,0,hello,7,1,0,0*", 0) == 0);
  }
}

TEST(readings_come_every_20_ms_numbered) {
  Bench bench(0xffffffff - 100);
  bench.conversions[0].fill(4095);
  bench.button_is_down = true;
  bench.pass(60);
  auto first = bench.heard(usb);
  bench.pass(60);
  const auto second = bench.heard(usb);
  CHECK(first.size() == 3 && second.size() == 3);
  CHECK(first[0].sequence == 1 && second[2].sequence == 6);
  const auto& readings = std::get<protocol::Readings>(second[2].message);
  CHECK(readings.uptime_ms == bench.now_ms);
  CHECK(readings.presses == 1 && readings.is_held && readings.count == 2);
  CHECK(readings.channels[0].channel == 34 && readings.channels[1].channel == 39);
  CHECK(readings.channels[0].raw == 4095 && readings.channels[0].smoothed == 1000);
  CHECK(readings.channels[1].raw == 0 && readings.channels[1].smoothed == 0);
}

TEST(before_hi_open_is_refused_and_rest_and_ask_are_not) {
  Bench bench;
  bench.say(usb, 5, protocol::Open{100, 1000, 1000});
  CHECK(bench.answer(usb) == "no answers=5 reason=hi");
  CHECK(!bench.is_open());
  bench.say(usb, 6, protocol::Ask{});
  CHECK(bench.answer(usb) == "gate answers=6 state=rest left=0");
  bench.say(usb, 7, protocol::Rest{});
  CHECK(bench.answer(usb) == "gate answers=7 state=rest left=0");
}

TEST(hi_on_one_port_is_none_on_the_other) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  CHECK(bench.answer(usb) == "hello firmware=1.0.0");
  bench.say(bluetooth, 1, protocol::Open{100, 1000, 1000});
  CHECK(bench.answer(bluetooth) == "no answers=1 reason=hi");
}

TEST(a_command_sent_again_is_answered_and_not_done_again) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  bench.heard(usb);
  bench.pass(60);
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  CHECK(bench.answer(usb) == "gate answers=2 state=open left=40");
  bench.pass(40);
  CHECK(!bench.is_open());
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  CHECK(bench.answer(usb) == "gate answers=2 state=rest left=0");
  CHECK(!bench.is_open());
}

TEST(another_command_under_the_same_number_is_done) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  bench.pass(200);
  bench.say(usb, 2, protocol::Open{100, 1200, 1000});
  CHECK(bench.is_open());
}

TEST(hi_forgets_the_last_command) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  bench.pass(200);
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  CHECK(bench.is_open());
}

TEST(a_late_command_and_one_too_far_ahead_are_refused) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.heard(usb);
  bench.pass(500);
  bench.heard(usb);
  bench.say(usb, 2, protocol::Open{100, 499, 1000});
  CHECK(bench.answer(usb) == "no answers=2 reason=late");
  bench.say(usb, 3, protocol::Open{100, 60'501, 1000});
  CHECK(bench.answer(usb) == "no answers=3 reason=range");
  CHECK(!bench.is_open());
}

TEST(what_is_whole_but_no_command_is_refused_and_what_is_broken_is_not_answered) {
  Bench bench;
  bench.say(usb, "$1,5,dance*25<6?2><\n");
  CHECK(bench.answer(usb) == "no answers=5 reason=what");
  bench.say(usb, "$1,5,open,0,61200,500*>8?=0;3;\n");
  CHECK(bench.answer(usb) == "no answers=5 reason=range");
  bench.say(usb, "$1,5,dance*25<6?2>=\n_34#2765#34_\nnoise\n");
  CHECK(bench.answer(usb).empty());
}

TEST(an_echo_is_not_answered_and_does_not_end_the_silence) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{1000, 1000, 100});
  const std::string said(bench.the_device.to_send(usb));
  bench.heard(usb);
  bench.pass(50);
  bench.say(usb, said);
  CHECK(bench.answer(usb).empty());
  CHECK(bench.is_open());
  bench.pass(50);
  CHECK(!bench.is_open());
}

TEST(lines_on_its_port_keep_the_gate_open_and_silence_brings_it_to_rest) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{60'000, 1000, 100});
  for (std::uint16_t turn = 0; turn < 10; ++turn) {
    bench.pass(99);
    bench.say(usb, static_cast<std::uint16_t>(3 + turn), protocol::Ask{});
    CHECK(bench.is_open());
  }
  for (int turn = 0; turn < 10; ++turn) {
    bench.pass(10);
    bench.say(bluetooth, 1, protocol::Ask{});
    bench.say(usb, "not a line\n");
  }
  CHECK(!bench.is_open());
}

TEST(rest_on_either_port_brings_the_gate_to_rest) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, 2, protocol::Open{60'000, 1000, 60'000});
  bench.say(bluetooth, 9, protocol::Rest{});
  CHECK(!bench.is_open());
}

TEST(after_a_disconnection_hi_comes_first_and_half_a_line_is_forgotten) {
  Bench bench;
  bench.say(usb, 1, protocol::Hi{});
  bench.say(usb, "$1,5,he");
  bench.the_device.disconnect(usb);
  bench.say(usb, 2, protocol::Open{100, 1000, 1000});
  CHECK(bench.answer(usb) == "no answers=2 reason=hi");
}

TEST(a_line_that_finds_no_room_is_lost_whole_and_leaves_a_gap) {
  Bench bench;
  bench.pass(1000);
  const auto lines = bench.heard(usb);
  CHECK(lines.size() < 50);
  bench.pass(20);
  const auto later = bench.heard(usb);
  CHECK(later.size() == 1 && later[0].sequence == 51);
}

TEST(the_lamp_flashes_then_is_lit_then_flickers) {
  const auto lit_ms = [](Bench& bench) {
    int lit = 0;
    for (int at = 0; at < 1000; ++at) {
      bench.pass(1);
      lit += bench.the_device.lamp_is_lit(bench.now_ms) ? 1 : 0;
    }
    return lit;
  };
  Bench bench;
  CHECK(lit_ms(bench) == 50);
  bench.say(usb, 1, protocol::Hi{});
  CHECK(lit_ms(bench) == 1000);
  bench.say(usb, 2, protocol::Open{60'000, 30'000, 60'000});
  CHECK(lit_ms(bench) == 500);
  bench.say(usb, 3, protocol::Rest{});
  bench.pass(2000);
  CHECK(lit_ms(bench) == 50);
}

TEST(the_display_shows_knobs_gate_and_link) {
  Bench bench;
  bench.conversions[0].fill(4095);
  bench.pass(10);
  auto text = bench.the_device.text(bench.now_ms);
  CHECK(row_of(text, 0) == "knob 34     1000");
  CHECK(row_of(text, 1) == "knob 39        0");
  CHECK(row_of(text, 2) == "gate rests      ");
  CHECK(row_of(text, 3) == "link none       ");
  bench.say(bluetooth, 1, protocol::Hi{});
  bench.say(bluetooth, 2, protocol::Open{60'000, 1000, 60'000});
  text = bench.the_device.text(bench.now_ms);
  CHECK(row_of(text, 2) == "gate OPEN       ");
  CHECK(row_of(text, 3) == "link Bluetooth  ");
}
