//! Host names as they are compared.

use std::net::IpAddr;

use ringfence_abi::ErrorCode;

/// What a program asked to resolve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// An address, written out; canonical.
    Address(IpAddr),
    /// A name: lower case, no trailing dot.
    Name(String),
}

/// The longest name, RFC 1035 §2.3.4 (255 bytes on the wire, 253 as text).
const LONGEST_NAME: usize = 253;
/// The longest label of a name, ibid.
const LONGEST_LABEL: usize = 63;

/// Reads what a program asked to resolve. `Invalid` for what is neither an address nor a name of
/// letters, digits, `-` and `_` (RFC 1123 §2.1); a name of another script comes as Punycode.
///
/// What only C libraries take for an address (`127.1`, `0x7f000001`, `2130706433`; `inet_aton(3)`)
/// is neither: no name ends in a label that is a number.
pub(super) fn parse(text: &str) -> Result<Host, ErrorCode> {
    let unbracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match unbracketed.unwrap_or(text).parse::<IpAddr>() {
        Ok(ip) if unbracketed.is_none() || ip.is_ipv6() => return Ok(Host::Address(ip.to_canonical())),
        _ => {}
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) || name.rsplit('.').next().is_some_and(is_number) {
        return Err(ErrorCode::Invalid);
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

fn is_label(label: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.len() <= LONGEST_LABEL && !label.starts_with('-') && label.bytes().all(fit)
}

/// Whether a C library would read the label as a number: decimal, octal or hexadecimal.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Host, ErrorCode> {
        Ok(Host::Name(text.to_string()))
    }

    #[test]
    fn a_name_is_lower_case_without_the_trailing_dot() {
        assert_eq!(parse("API.Example.COM."), name("api.example.com"));
        assert_eq!(parse("localhost"), name("localhost"));
        assert_eq!(parse("_dns.xn--bcher-kva.example"), name("_dns.xn--bcher-kva.example"));
    }

    #[test]
    fn an_address_is_itself() {
        let address = |text: &str| Ok(Host::Address(text.parse().expect("an address")));
        assert_eq!(parse("192.0.2.1"), address("192.0.2.1"));
        assert_eq!(parse("2001:DB8::1"), address("2001:db8::1"));
        assert_eq!(parse("[::1]"), address("::1"));
        assert_eq!(parse("::ffff:127.0.0.1"), address("127.0.0.1"));
    }

    #[test]
    fn what_c_libraries_read_as_an_address_is_no_name() {
        for text in ["127.1", "2130706433", "0x7f000001", "127.0.0.1.", "0177.0.0.1", "example.0x7f", "[127.0.0.1]"] {
            assert_eq!(parse(text), Err(ErrorCode::Invalid), "{text}");
        }
    }

    #[test]
    fn what_no_name_can_be_is_invalid() {
        let long_label = "a".repeat(64);
        let long_name = ["a".repeat(63).as_str(); 4].join(".");
        for text in [
            "",
            ".",
            "a..b",
            ".example.com",
            "example.com..",
            "bücher.example",
            "a b",
            "a\0b",
            "fe80::1%eth0",
            "-a.example",
            "*.example.com",
            "example.com:80",
            long_label.as_str(),
            long_name.as_str(),
        ] {
            assert_eq!(parse(text), Err(ErrorCode::Invalid), "{text}");
        }
        assert!(parse(&"a".repeat(63)).is_ok());
        assert!(parse(&long_name[2..]).is_ok());
    }
}
