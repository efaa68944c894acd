// SPDX-License-Identifier: Apache-2.0
#include "Arduino.h"
#include "BluetoothSerial.h"

#include <utility>

namespace {

constexpr std::uint64_t look_us = 2;
constexpr std::uint64_t conversion_us = 85;

BluetoothSerial* made = nullptr;

}  // namespace

HardwareSerial Serial;
stub::Pins stub::pins;

unsigned long micros() { return static_cast<unsigned long>(stub::pins.now_us += look_us); }
unsigned long millis() { return micros() / 1000; }

void pinMode(std::uint8_t pin, std::uint8_t mode) { stub::pins.mode[pin] = mode; }
void digitalWrite(std::uint8_t pin, std::uint8_t level) { stub::pins.level[pin] = level; }

int digitalRead(std::uint8_t pin) {
  const auto found = stub::pins.level.find(pin);
  return found == stub::pins.level.end() ? HIGH : found->second;
}

std::uint16_t analogRead(std::uint8_t pin) {
  stub::pins.now_us += conversion_us;
  return stub::pins.analog[pin];
}

void analogReadResolution(std::uint8_t) {}
void analogSetAttenuation(adc_attenuation_t) {}
std::uint32_t ledcSetup(std::uint8_t, std::uint32_t hertz, std::uint8_t) { return hertz; }

void ledcAttachPin(std::uint8_t pin, std::uint8_t channel) {
  stub::pins.channel_of_pin[pin] = channel;
}

void ledcWrite(std::uint8_t channel, std::uint32_t duty) { stub::pins.duty[channel] = duty; }

int StubPort::available() {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(to_read_.size());
}

int StubPort::read() {
  const std::lock_guard lock(mutex_);
  if (to_read_.empty()) {
    return -1;
  }
  const auto byte = static_cast<unsigned char>(to_read_.front());
  to_read_.pop_front();
  return byte;
}

std::size_t StubPort::write(const std::uint8_t* bytes, std::size_t count) {
  const std::lock_guard lock(mutex_);
  written_.append(reinterpret_cast<const char*>(bytes), count);
  return count;
}

void StubPort::feed(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  to_read_.insert(to_read_.end(), bytes.begin(), bytes.end());
}

std::string StubPort::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(written_, {});
}

BluetoothSerial::BluetoothSerial() { made = this; }

bool BluetoothSerial::begin(const char* its_name) {
  name = its_name;
  return true;
}

BluetoothSerial& stub::bluetooth() { return *made; }
