// SPDX-License-Identifier: Apache-2.0
//
// As much of the Arduino API of the ESP32 (core 2.0.17) as src/main.cpp uses. Time passes when it
// is looked at and when something is converted, so tests are the same on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>

constexpr std::uint8_t LOW = 0;
constexpr std::uint8_t HIGH = 1;
constexpr std::uint8_t OUTPUT = 3;
constexpr std::uint8_t INPUT_PULLUP = 5;
enum adc_attenuation_t { ADC_0db, ADC_2_5db, ADC_6db, ADC_11db };

unsigned long millis();
unsigned long micros();
void pinMode(std::uint8_t pin, std::uint8_t mode);
void digitalWrite(std::uint8_t pin, std::uint8_t level);
int digitalRead(std::uint8_t pin);
std::uint16_t analogRead(std::uint8_t pin);
void analogReadResolution(std::uint8_t bits);
void analogSetAttenuation(adc_attenuation_t attenuation);
std::uint32_t ledcSetup(std::uint8_t channel, std::uint32_t hertz, std::uint8_t bits);
void ledcAttachPin(std::uint8_t pin, std::uint8_t channel);
void ledcWrite(std::uint8_t channel, std::uint32_t duty);

// A port whose other end a test holds.
class StubPort {
 public:
  int available();
  int read();
  std::size_t write(const std::uint8_t* bytes, std::size_t count);

  void feed(const std::string& bytes);
  // What was written, and forget it.
  std::string take();

 private:
  std::mutex mutex_;
  std::deque<char> to_read_;
  std::string written_;
};

class HardwareSerial : public StubPort {
 public:
  void begin(unsigned long baud) { baud_ = baud; }
  void setRxBufferSize(std::size_t) {}
  void setTxBufferSize(std::size_t) {}
  int availableForWrite() const { return room; }

  int room = 128;
  unsigned long baud_ = 0;
};

extern HardwareSerial Serial;

void setup();
void loop();

// What a test sets and sees.
namespace stub {

struct Pins {
  std::uint64_t now_us = 0;
  std::map<int, int> mode;
  std::map<int, int> level;
  std::map<int, std::uint16_t> analog;
  std::map<int, std::uint32_t> duty;
  std::map<int, int> channel_of_pin;
  int watchdog_feeds = 0;
  int watchdog_s = 0;
  int glyphs = 0;
};

extern Pins pins;

}  // namespace stub
