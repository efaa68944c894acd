// SPDX-License-Identifier: Apache-2.0
//
// The device twin: the firmware's own logic behind two ptys, in real time. See README.md here.
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <exception>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"
#include "serial_port.h"

namespace twin {
namespace {

constexpr std::int64_t tick_ns = 1'000'000;
constexpr std::array<const char*, device::ports> port_names = {"bluetooth", "usb"};
// Duration of a press and of a start, and how long a loop may hang before the watchdog resets the
// chip.
constexpr std::uint32_t press_ms = 100;
constexpr std::uint32_t start_ms = 300;
constexpr std::uint32_t watchdog_ms = 1000;
constexpr std::uint32_t legacy_every_ms = 20;
constexpr std::size_t most_garbage = 1'000'000;

std::int64_t steady_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

class Twin {
 public:
  Twin(const std::string& folder, unsigned seed, std::uint32_t uptime_ms)
      : random_(seed), uptime_ms_(uptime_ms), device_(std::in_place, uptime_ms) {
    for (std::size_t at = 0; at < device::ports; ++at) {
      ports_[at] = std::make_unique<SerialPort>(folder + "/" + port_names[at]);
    }
    positions_.fill(0.5);
  }

  void run() {
    for (std::size_t at = 0; at < device::ports; ++at) {
      ::printf("port %s %s\n", port_names[at], ports_[at]->path().c_str());
    }
    say("ready", steady_ns());
    next_tick_ns_ = steady_ns();
    while (wait_for_input()) {
      const std::int64_t now_ns = steady_ns();
      // Makes up for the delay of a busy machine, one millisecond of device and line at a time.
      for (; next_tick_ns_ <= now_ns; next_tick_ns_ += tick_ns) {
        write_ports(next_tick_ns_);
        tick();
      }
      read_ports(now_ns);
    }
  }

 private:
  // Waits until the next tick is due or a command comes; false when stdin has ended.
  bool wait_for_input() {
    const std::int64_t wait_ns = std::max<std::int64_t>(next_tick_ns_ - steady_ns(), 0);
    const timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    pollfd input{STDIN_FILENO, POLLIN, 0};
    if (::ppoll(&input, 1, &timeout, nullptr) <= 0) {
      return true;
    }
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (count <= 0) {
      return false;
    }
    script_.append(bytes.data(), static_cast<std::size_t>(count));
    for (std::size_t end = script_.find('\n'); end != std::string::npos;
         end = script_.find('\n')) {
      const std::string command = script_.substr(0, end);
      script_.erase(0, end + 1);
      try {
        obey(command);
        say("done " + command, steady_ns());
      } catch (const std::invalid_argument& error) {
        say("error " + std::string(error.what()), steady_ns());
      }
    }
    return true;
  }

  void obey(const std::string& command) {
    std::istringstream words(command);
    std::vector<std::string> word{std::istream_iterator<std::string>(words), {}};
    word.resize(std::max<std::size_t>(word.size(), 3));
    const std::string& verb = word[0];
    if (verb == "knob") {
      knob(word[1]) = number(word[2], 0.0, 1.0);
    } else if (verb == "noise") {
      noise_counts_ = number(word[1], 0.0, 1000.0);
    } else if (verb == "press") {
      release_ms_ = uptime_ms_ + press_ms;
      is_pressed_ = true;
    } else if (verb == "hold") {
      is_pressed_ = true;
      release_ms_.reset();
    } else if (verb == "release") {
      is_pressed_ = false;
      release_ms_.reset();
    } else if (verb == "silent") {
      is_silent_ = is_on(word[1]);
    } else if (verb == "deaf") {
      is_deaf_ = is_on(word[1]);
    } else if (verb == "garbage") {
      const auto count = static_cast<std::size_t>(number(word[1], 1, most_garbage));
      for (auto& garbage : garbage_) {
        garbage += random_bytes(count);
      }
    } else if (verb == "flood") {
      is_flooding_ = is_on(word[1]);
    } else if (verb == "cut") {
      for_ports(word[1], [](SerialPort& port) { port.unplug(); });
    } else if (verb == "plug") {
      for_ports(word[1], [](SerialPort& port) { port.plug(); });
    } else if (verb == "reboot") {
      reset(next_tick_ns_);
    } else if (verb == "hang") {
      hung_since_ms_ = uptime_ms_;
    } else if (verb == "stuck") {
      is_stuck_ = is_on(word[1]);
    } else if (verb == "legacy") {
      is_legacy_ = is_on(word[1]);
    } else {
      throw std::invalid_argument("command '" + verb +
                                  "', allowed: knob, noise, press, hold, release, silent, deaf, "
                                  "garbage, flood, cut, plug, reboot, hang, stuck, legacy");
    }
  }

  double& knob(const std::string& channel) {
    for (std::size_t at = 0; at < device::channels.size(); ++at) {
      if (channel == std::to_string(device::channels[at])) {
        return positions_[at];
      }
    }
    throw std::invalid_argument("knob '" + channel + "', allowed: 34, 39");
  }

  static double number(const std::string& text, double least, double largest) {
    double value = NAN;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= least) ||
        !(value <= largest)) {
      std::ostringstream message;
      message << "number '" << text << "', allowed: " << least << " to " << largest;
      throw std::invalid_argument(message.str());
    }
    return value;
  }

  static bool is_on(const std::string& text) {
    if (text != "on" && text != "off") {
      throw std::invalid_argument("'" + text + "', allowed: on, off");
    }
    return text == "on";
  }

  template <typename Action>
  void for_ports(const std::string& name, Action action) {
    bool found = false;
    for (std::size_t at = 0; at < device::ports; ++at) {
      if (name.empty() || name == port_names[at]) {
        action(*ports_[at]);
        found = true;
      }
    }
    if (!found) {
      throw std::invalid_argument("port '" + name + "', allowed: bluetooth, usb, or none for both");
    }
  }

  std::string random_bytes(std::size_t count) {
    std::uniform_int_distribution<int> any_byte(0, 255);
    std::string bytes(count, '\0');
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<char>(any_byte(random_)); });
    return bytes;
  }

  device::Conversions convert(double position) {
    std::normal_distribution<double> noise(0.0, 1.0);
    device::Conversions conversions{};
    for (auto& conversion : conversions) {
      const double counts = 4095.0 * position + noise_counts_ * noise(random_);
      conversion = static_cast<std::uint16_t>(std::clamp(std::round(counts), 0.0, 4095.0));
    }
    return conversions;
  }

  // Runs one millisecond of the device.
  void tick() {
    ++uptime_ms_;
    if (release_ms_ == uptime_ms_) {
      is_pressed_ = false;
      release_ms_.reset();
    }
    if (hung_since_ms_ && uptime_ms_ - *hung_since_ms_ >= watchdog_ms) {
      reset(next_tick_ns_);
    }
    if (!device_ && uptime_ms_ == start_ms) {
      device_.emplace(uptime_ms_);
    }
    if (device_ && !hung_since_ms_) {
      std::array<device::Conversions, device::channels.size()> conversions{};
      for (std::size_t at = 0; at < conversions.size(); ++at) {
        conversions[at] = convert(positions_[at]);
      }
      device_->tick(uptime_ms_, conversions, is_pressed_);
      move_gate(device_->gate_is_open(uptime_ms_), next_tick_ns_);
      if (is_legacy_ && uptime_ms_ % legacy_every_ms == 0) {
        add_legacy_lines(conversions);
      }
    }
  }

  // The pull-down resistor brings the gate to rest while the chip restarts.
  void reset(std::int64_t at_ns) {
    hung_since_ms_.reset();
    device_.reset();
    uptime_ms_ = 0;
    move_gate(false, at_ns);
  }

  void move_gate(bool is_open, std::int64_t at_ns) {
    if (is_open != gate_is_open_ && !is_stuck_) {
      gate_is_open_ = is_open;
      say(is_open ? "gate open" : "gate rest", at_ns);
    }
  }

  void add_legacy_lines(
      const std::array<device::Conversions, device::channels.size()>& conversions) {
    std::array<char, 64> lines{};
    const int count = ::snprintf(lines.data(), lines.size(), "_34#%d#34_\r\n_39#%.4f#39_\r\n",
                                 conversions[0].back(), conversions[1].back() / 4095.0);
    for (std::size_t at = 0; at < device::ports; ++at) {
      // Data that a computer does not fetch in time is lost.
      legacy_[at] = legacy_[at].size() > most_garbage ? "" : legacy_[at];
      legacy_[at].append(lines.data(), static_cast<std::size_t>(count));
    }
  }

  void read_ports(std::int64_t now_ns) {
    for (std::size_t at = 0; at < device::ports; ++at) {
      const std::string bytes = ports_[at]->read(now_ns);
      if (!device_ || hung_since_ms_) {
        continue;
      }
      if (!ports_[at]->has_computer()) {
        device_->disconnect(at);
      } else if (!is_deaf_) {
        for (const char byte : bytes) {
          device_->receive(at, byte, uptime_ms_);
        }
        move_gate(device_->gate_is_open(uptime_ms_), now_ns);
      }
    }
  }

  void write_ports(std::int64_t now_ns) {
    for (std::size_t at = 0; at < device::ports; ++at) {
      SerialPort& port = *ports_[at];
      if (!garbage_[at].empty() || is_flooding_) {
        const std::string bytes = is_flooding_ ? random_bytes(64) : garbage_[at];
        const std::size_t count = port.write(bytes, now_ns);
        garbage_[at].erase(0, std::min(count, garbage_[at].size()));
      } else if (is_legacy_) {
        legacy_[at].erase(0, port.write(legacy_[at], now_ns));
      } else if (device_) {
        const std::string_view waiting = device_->to_send(at);
        device_->sent(at, is_silent_ ? waiting.size() : port.write(waiting, now_ns));
      }
    }
  }

  static void say(const std::string& what, std::int64_t at_ns) {
    ::printf("%s @%.6f\n", what.c_str(), static_cast<double>(at_ns) * 1e-9);
    ::fflush(stdout);
  }

  std::mt19937 random_;
  std::uint32_t uptime_ms_;
  std::optional<device::Device> device_;
  std::array<std::unique_ptr<SerialPort>, device::ports> ports_;
  std::array<double, device::channels.size()> positions_{};
  double noise_counts_ = 20.0;
  bool is_pressed_ = false;
  std::optional<std::uint32_t> release_ms_;
  std::optional<std::uint32_t> hung_since_ms_;
  bool gate_is_open_ = false;
  bool is_silent_ = false;
  bool is_deaf_ = false;
  bool is_flooding_ = false;
  bool is_stuck_ = false;
  bool is_legacy_ = false;
  std::array<std::string, device::ports> garbage_;
  std::array<std::string, device::ports> legacy_;
  std::string script_;
  std::int64_t next_tick_ns_ = 0;
};

}  // namespace
}  // namespace twin

int main(int count, char** words) {
  if (count != 4) {
    ::fprintf(stderr, "usage: %s FOLDER SEED UPTIME_MS, see firmware/twin/README.md\n", words[0]);
    return 2;
  }
  try {
    twin::Twin(words[1], static_cast<unsigned>(std::stoul(words[2])),
               static_cast<std::uint32_t>(std::stoul(words[3])))
        .run();
  } catch (const std::exception& error) {
    ::fprintf(stderr, "device_twin: %s\n", error.what());
    return 1;
  }
  return 0;
}
