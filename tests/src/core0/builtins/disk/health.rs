//! What `smartctl` and `hdparm` print of a disk.

use serde_json::{Value, json};

use crate::core0::builtins::Failure;

/// The facts of `smartctl -i`.
pub(super) fn describe(printed: &str) -> Result<Value, Failure> {
    let values = |name: &'static str| {
        printed
            .lines()
            .filter_map(move |line| line.split_once(':').filter(|(key, _)| *key == name))
            .map(|(_, value)| value.trim())
    };
    let text = |name| values(name).last().unwrap_or_default();
    let bytes = |name| match text(name) {
        "" => Ok(0),
        value => {
            let digits = value.split("bytes").next().unwrap_or_default().trim().replace(',', "");
            let invalid = || format!("strconv.Atoi: parsing \"{digits}\": invalid syntax");
            digits.parse::<i64>().map_err(|_| Failure::new(500, invalid()))
        }
    };
    let supports = |word| values("SMART support is").any(|value| value.contains(word));
    Ok(json!({
        "model": text("Device Model"), "serial_number": text("Serial Number"), "device_id": text("LU WWN Device Id"),
        "firmware_version": text("Firmware Version"), "user_capacity": bytes("User Capacity")?,
        "sector_size": bytes("Sector Size")?, "rotation_rate": text("Rotation Rate"), "device": text("Device is"),
        "ata_version": text("ATA Version is"), "sata_version": text("SATA Version is"),
        "smart_support_available": supports("Available"), "smart_support_enabled": supports("Enabled"),
    }))
}

/// Whether `hdparm -C` says that the drive sleeps.
pub(super) fn standby(printed: &str) -> Result<bool, Failure> {
    let state = printed.lines().find(|line| line.contains("drive state")).and_then(|line| line.split(':').nth(1));
    let state = state.ok_or_else(|| Failure::new(400, "hdparm returned unparsable result for isStandby"))?;
    Ok(state.trim() == "standby")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read() {
        let printed = "Device Model:     QEMU HARDDISK\nUser Capacity:    1,073,741,824 bytes [1.07 GB]\nSector Size:      512 bytes \
                       logical/physical\nSMART support is: Available - device has SMART capability.\nSMART support is: Enabled\n";
        let facts = describe(printed).expect("read");
        assert_eq!((&facts["model"], &facts["user_capacity"]), (&json!("QEMU HARDDISK"), &json!(1_073_741_824)));
        assert_eq!((&facts["smart_support_available"], &facts["smart_support_enabled"]), (&json!(true), &json!(true)));
        assert_eq!(standby("/dev/sda:\n drive state is:  standby\n"), Ok(true));
        assert!(standby("").is_err());
    }
}
