//! A line of this machine's pins, by the kernel's character device. Not tried on hardware.

use gpiocdev::Request;
use gpiocdev::line::Value;

use super::switch::Line;
use crate::command::Gpio;

struct Pin {
    request: Request,
}

/// Opens a line as an output, with its relay fallen.
///
/// # Errors
/// With what the system said.
pub fn open_line(gpio: &Gpio) -> Result<Box<dyn Line>, String> {
    let mut builder = Request::builder();
    builder.on_chip(&gpio.chip).with_line(gpio.line).with_consumer("vestibule");
    if gpio.active_low {
        builder.as_active_low();
    }
    let request = builder.as_output(Value::Inactive).request();
    let request = request.map_err(|error| format!("{} line {}: {error}", gpio.chip.display(), gpio.line))?;
    Ok(Box::new(Pin { request }))
}

impl Line for Pin {
    fn set(&mut self, drawn: bool) -> Result<(), String> {
        let value = if drawn { Value::Active } else { Value::Inactive };
        self.request.set_lone_value(value).map_err(|error| error.to_string())
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // Whatever broke the cycle off, the terminal gets its power back.
        if let Err(error) = self.set(false) {
            tracing::error!(error, "The relay of a terminal's power does not fall.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_that_is_not_there_is_named() {
        let gpio = Gpio { chip: "/nowhere/gpiochip9".into(), line: 17, active_low: true, off_s: None };
        assert!(open_line(&gpio).err().is_some_and(|why| why.starts_with("/nowhere/gpiochip9 line 17")));
    }
}
