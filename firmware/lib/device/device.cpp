// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <algorithm>

namespace device {
namespace {

constexpr std::uint32_t read_every_ms = 20;
constexpr std::uint32_t link_lasts_ms = 2000;

}  // namespace

Device::Device(std::uint32_t now_ms) : read_ms_(now_ms) {
  for (Port& port : ports_) {
    send(port, protocol::Hello{now_ms, firmware_version});
  }
}

void Device::receive(std::size_t port, char byte, std::uint32_t now_ms) {
  gate_.advance(now_ms);
  Port& at = ports_[port];
  const auto line = at.lines.feed(byte);
  if (!line) {
    return;
  }
  const auto answer = at.commands.take(now_ms, protocol::decode(*line), gate_);
  if (answer) {
    at.has_heard = true;
    at.heard_ms = now_ms;
    send(at, *answer);
  }
}

void Device::disconnect(std::size_t port) {
  Port& at = ports_[port];
  at.commands.forget();
  at.lines.clear();
  at.has_heard = false;
  at.waiting_count = 0;
}

void Device::tick(std::uint32_t now_ms,
                  const std::array<Conversions, channels.size()>& conversions,
                  bool button_is_down) {
  gate_.advance(now_ms);
  for (Port& port : ports_) {
    port.has_heard = is_linked(port, now_ms);
  }
  button_.sample(button_is_down);
  for (std::size_t at = 0; at < knobs_.size(); ++at) {
    knobs_[at].add(conversions[at]);
  }
  if (now_ms - read_ms_ < read_every_ms) {
    return;
  }
  // After a long pause only the next one is due, not all that were missed.
  read_ms_ = now_ms - read_ms_ < 2 * read_every_ms ? read_ms_ + read_every_ms : now_ms;
  protocol::Readings readings;
  readings.uptime_ms = now_ms;
  readings.presses = button_.presses();
  readings.is_held = button_.is_held();
  for (std::size_t at = 0; at < knobs_.size(); ++at) {
    readings.channels[readings.count++] = {channels[at], knobs_[at].raw(), knobs_[at].smoothed()};
  }
  for (Port& port : ports_) {
    send(port, readings);
  }
}

std::string_view Device::to_send(std::size_t port) const {
  return {ports_[port].waiting.data(), ports_[port].waiting_count};
}

void Device::sent(std::size_t port, std::size_t count) {
  Port& at = ports_[port];
  const auto begin = at.waiting.begin();
  std::copy(begin + static_cast<std::ptrdiff_t>(count),
            begin + static_cast<std::ptrdiff_t>(at.waiting_count), begin);
  at.waiting_count -= count;
}

bool Device::gate_is_open(std::uint32_t now_ms) {
  gate_.advance(now_ms);
  return gate_.is_open();
}

// The lamp flickers while the gate is open, is lit while a computer talks, and otherwise flashes
// once a second.
bool Device::lamp_is_lit(std::uint32_t now_ms) const {
  if (gate_.is_open()) {
    return now_ms % 100 < 50;
  }
  const bool is_linked_somewhere =
      std::any_of(ports_.begin(), ports_.end(),
                  [&](const Port& port) { return is_linked(port, now_ms); });
  return is_linked_somewhere || now_ms % 1000 < 50;
}

Text Device::text(std::uint32_t now_ms) const {
  Text rows;
  for (auto& row : rows) {
    row.fill(' ');
  }
  const auto write = [&](std::size_t row, std::size_t column, std::string_view text) {
    std::copy(text.begin(), text.end(), rows[row].begin() + static_cast<std::ptrdiff_t>(column));
  };
  const auto write_number = [&](std::size_t row, std::size_t last_column, unsigned number) {
    do {
      rows[row][last_column--] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
  };
  for (std::size_t at = 0; at < knobs_.size(); ++at) {
    write(at, 0, "knob");
    write_number(at, 6, channels[at]);
    write_number(at, 15, knobs_[at].smoothed());
  }
  write(2, 0, gate_.is_open() ? "gate OPEN" : "gate rests");
  const bool has_bluetooth = is_linked(ports_[0], now_ms);
  const bool has_usb = is_linked(ports_[1], now_ms);
  write(3, 0, "link");
  write(3, 5, has_bluetooth ? "Bluetooth" : has_usb ? "USB" : "none");
  return rows;
}

void Device::send(Port& port, const protocol::Message& message) {
  // A line without room is lost; the gap in the sequence numbers shows it.
  const auto line = protocol::encode(port.sequence++, message);
  if (port.waiting_count + line.size <= port.waiting.size()) {
    const auto end = port.waiting.begin() + static_cast<std::ptrdiff_t>(port.waiting_count);
    std::copy_n(line.bytes.begin(), line.size, end);
    port.waiting_count += line.size;
  }
}

bool Device::is_linked(const Port& port, std::uint32_t now_ms) const {
  return port.has_heard && now_ms - port.heard_ms < link_lasts_ms;
}

}  // namespace device
