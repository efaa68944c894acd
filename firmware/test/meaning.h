// SPDX-License-Identifier: Apache-2.0
//
// The content of a line, in the words of the third column of protocol_vectors.tsv.
#pragma once

#include <cstddef>
#include <sstream>
#include <string>

#include "protocol.h"

namespace meaning {

inline const char* of(protocol::Reason reason) {
  switch (reason) {
    case protocol::Reason::hi:
      return "hi";
    case protocol::Reason::late:
      return "late";
    case protocol::Reason::range:
      return "range";
    case protocol::Reason::what:
      return "what";
  }
  return "";
}

struct Words {
  std::ostringstream& text;

  void operator()(const protocol::Hello& hello) const {
    const auto& part = hello.firmware;
    text << "hello uptime=" << hello.uptime_ms << " firmware=" << part[0] << '.' << part[1] << '.'
         << part[2];
  }
  void operator()(const protocol::Readings& readings) const {
    text << "read uptime=" << readings.uptime_ms << " presses=" << readings.presses
         << " held=" << readings.is_held;
    for (std::size_t at = 0; at < readings.count; ++at) {
      const protocol::Reading& reading = readings.channels[at];
      text << ' ' << int{reading.channel} << ':' << reading.raw << '/' << reading.smoothed;
    }
  }
  void operator()(const protocol::GateState& state) const {
    text << "gate uptime=" << state.uptime_ms << " answers=" << state.answers
         << " state=" << (state.is_open ? "open" : "rest") << " left=" << state.left_ms;
  }
  void operator()(const protocol::Refusal& refusal) const {
    text << "no uptime=" << refusal.uptime_ms << " answers=" << refusal.answers
         << " reason=" << of(refusal.reason);
  }
  void operator()(const protocol::Hi&) const { text << "hi"; }
  void operator()(const protocol::Open& open) const {
    text << "open duration=" << open.duration_ms << " by=" << open.by_ms
         << " silence=" << open.silence_ms;
  }
  void operator()(const protocol::Rest&) const { text << "rest"; }
  void operator()(const protocol::Ask&) const { text << "ask"; }
};

inline std::string of(const protocol::Line& line) {
  std::ostringstream text;
  text << line.sequence << ' ';
  std::visit(Words{text}, line.message);
  return text.str();
}

}  // namespace meaning
