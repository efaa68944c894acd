// SPDX-License-Identifier: Apache-2.0
//
// The whole device except its pins: samples, button and bytes in; bytes, gate, lamp and text out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "button.h"
#include "commands.h"
#include "gate.h"
#include "knob.h"
#include "line_buffer.h"
#include "protocol.h"

namespace device {

constexpr std::size_t ports = 2;
// GPIO numbers of the potentiometers, which are also their channels in the protocol. Both pins are
// on ADC1, because ADC2 does not work while the radio runs. Both are inputs only, without internal
// pull resistors, so a pin floats when its wire comes off.
constexpr std::array<std::uint8_t, 2> channels = {34, 39};

// What the display shows: four rows of sixteen characters.
using Text = std::array<std::array<char, 16>, 4>;

class Device {
 public:
  explicit Device(std::uint32_t now_ms);

  // Takes a byte from a port.
  void receive(std::size_t port, char byte, std::uint32_t now_ms);

  // The computer at a port has gone; drops what was left to send.
  void disconnect(std::size_t port);

  // Takes the state of the pins; call it once a millisecond.
  void tick(std::uint32_t now_ms, const std::array<Conversions, channels.size()>& conversions,
            bool button_is_down);

  // Gives what waits to be sent on a port. After sending some of it, report how much.
  std::string_view to_send(std::size_t port) const;
  void sent(std::size_t port, std::size_t count);

  bool gate_is_open(std::uint32_t now_ms);
  bool lamp_is_lit(std::uint32_t now_ms) const;
  Text text(std::uint32_t now_ms) const;

 private:
  struct Port {
    explicit Port(std::uint8_t number) : commands(number) {}

    Commands commands;
    protocol::LineBuffer lines;
    std::uint16_t sequence = 0;
    bool has_heard = false;
    std::uint32_t heard_ms = 0;
    std::array<char, 512> waiting{};
    std::size_t waiting_count = 0;
  };

  void send(Port& port, const protocol::Message& message);
  bool is_linked(const Port& port, std::uint32_t now_ms) const;

  std::array<Port, ports> ports_{Port(0), Port(1)};
  std::array<Knob, channels.size()> knobs_;
  button::Button button_;
  gate::Gate gate_;
  std::uint32_t read_ms_;
};

}  // namespace device
