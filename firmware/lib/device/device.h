// SPDX-License-Identifier: Apache-2.0
//
// The whole device but its pins: samples, button and bytes in; bytes, gate, lamp and text out.
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
// GPIO numbers of the potentiometers, which are their channels in the protocol. Both on ADC1: ADC2
// is not to be had while the radio runs. Both are inputs only and have no pull resistors inside, so
// a wire that came off floats.
constexpr std::array<std::uint8_t, 2> channels = {34, 39};

// What the display shows: four rows of sixteen characters.
using Text = std::array<std::array<char, 16>, 4>;

class Device {
 public:
  explicit Device(std::uint32_t now_ms);

  // A byte came in on a port.
  void receive(std::size_t port, char byte, std::uint32_t now_ms);

  // Whoever was at a port has gone: what was left to send is dropped.
  void disconnect(std::size_t port);

  // What the pins say; called once a millisecond.
  void tick(std::uint32_t now_ms, const std::array<Conversions, channels.size()>& conversions,
            bool button_is_down);

  // What waits to be sent on a port; after sending some of it, say how much.
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
