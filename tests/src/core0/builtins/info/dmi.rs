//! `info.dmi`: what the firmware says of the machine, as the program `dmidecode` prints it.

use serde_json::{Map, Value, json};

use crate::core0::builtins::arguments::{Kind, Shape};
use crate::core0::builtins::{Failure, tool};

const TYPES: Shape =
    Shape { go: r#"struct { Types []interface {} "json:\"types\"" }"#, fields: &[("types", Kind::List(&Kind::Any))] };
const KEYWORDS: [&str; 9] =
    ["bios", "system", "baseboard", "chassis", "processor", "memory", "cache", "connector", "slot"];
/// The names of the types 0 to 42, two of them as they are spelt on the node.
const NAMES: [&str; 43] = [
    "BIOS",
    "System",
    "Baseboard",
    "Chassis",
    "Processor",
    "MemoryController",
    "MemoryModule",
    "Cache",
    "PortConnector",
    "SystemSlots",
    "OnBoardDevices",
    "OEMSettings",
    "SystemConfigurationOptions",
    "BIOSLanguage",
    "GroupAssociations",
    "SystemEventLog",
    "PhysicalMemoryArray",
    "MemoryDevice",
    "32BitMemoryError",
    "MemoryArrayMappedAddress",
    "MemoryDeviceMappedAddress",
    "BuiltinPointingDevice",
    "PortableBattery",
    "SystemReset",
    "HardwareSecurity",
    "SystemPowerControls",
    "VoltageProbe",
    "CoolingDevice",
    "TempratureProbe",
    "ElectricalCurrentProbe",
    "OutOfBandRemoteAccess",
    "BootIntegrityServices",
    "SystemBoot",
    "64BitMemoryError",
    "ManagementDevice",
    "ManagementDeviceComponent",
    "ManagementThresholdData",
    "MemoryChannel",
    "IPMIDevice",
    "PowerSupply",
    "AdditionalInformation",
    "OnboardDeviceExtendedInformation",
    "ManagementControllerHostInterface",
];

pub(super) fn call(arguments: &Value) -> Result<Value, Failure> {
    let arguments = TYPES.decode(arguments, 500)?;
    let mut options = Vec::new();
    for kind in arguments.list("types") {
        let option = match kind {
            Value::Number(number) => {
                #[expect(clippy::cast_possible_truncation, reason = "Go cuts it, too")]
                let number = number.as_f64().unwrap_or(-1.0) as i64;
                if !(0..=42).contains(&number) {
                    return Err(Failure::new(400, format!("type out of range: {number}")));
                }
                number.to_string()
            }
            Value::String(keyword) if KEYWORDS.contains(&keyword.as_str()) => keyword.clone(),
            Value::String(keyword) => return Err(Failure::new(500, format!("invalid keyword {keyword}"))),
            other => return Err(Failure::new(400, format!("invalid type: {other}"))),
        };
        options.extend(["-t".to_owned(), option]);
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Ok(parse(&tool::needed("dmidecode", &options)?.stdout))
}

/// Sections begin with a handle, subsections with a title; properties are indented, items of their lists further.
fn parse(text: &str) -> Value {
    let mut decoder = "";
    let mut sections: Vec<Value> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("# dmidecode") {
            decoder = line.trim_start_matches("# ");
        }
        let Some(number) = line.strip_prefix("Handle ").and_then(|rest| rest.split("DMI type ").nth(1)) else {
            continue;
        };
        let number: usize = number.split(',').next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let mut subsections = Vec::new();
        while let Some(title) = lines.next_if(|line| !line.trim().is_empty()) {
            let mut properties = Map::new();
            while let Some(property) = lines.next_if(|line| line.starts_with('\t')) {
                let (name, value) = property.trim().split_once(':').unwrap_or((property.trim(), ""));
                let mut items = Vec::new();
                while let Some(item) = lines.next_if(|line| line.starts_with("\t\t")) {
                    items.push(item.trim());
                }
                let mut entry = json!({"value": value.trim()});
                if !items.is_empty() {
                    entry["items"] = items.into();
                }
                properties.insert(name.to_owned(), entry);
            }
            subsections.push(json!({"title": title, "properties": properties}));
        }
        let name = NAMES.get(number).copied().unwrap_or_default();
        sections.push(json!({"handleline": line, "typestr": name, "typenum": number, "subsections": subsections}));
    }
    json!({"tooling": {"aggregator": "dmidecode", "decoder": decoder}, "sections": sections})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_properties_and_items_are_told_apart() {
        let text = "# dmidecode 3.4\nGetting SMBIOS data from sysfs.\n\nHandle 0x0000, DMI type 0, 24 bytes\nBIOS Information\n\
                    \tVendor: SeaBIOS\n\tCharacteristics:\n\t\tPCI is supported\n\t\tACPI is supported\n\n\
                    Handle 0x0100, DMI type 1, 27 bytes\nSystem Information\n\tManufacturer: QEMU\n\n";
        let parsed = parse(text);
        assert_eq!(parsed["sections"].as_array().map(Vec::len), Some(2));
        let bios = &parsed["sections"][0];
        assert_eq!((&bios["typestr"], &bios["typenum"]), (&json!("BIOS"), &json!(0)));
        let properties = &bios["subsections"][0]["properties"];
        assert_eq!(properties["Vendor"], json!({"value": "SeaBIOS"}));
        assert_eq!(properties["Characteristics"]["items"], json!(["PCI is supported", "ACPI is supported"]));
    }
}
