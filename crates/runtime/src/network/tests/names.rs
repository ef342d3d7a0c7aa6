use super::*;

fn addresses(texts: &[&str]) -> Result<Reply, ErrorCode> {
    Ok(Reply::Addresses(texts.iter().map(|text| ip(text)).collect()))
}

#[tokio::test]
async fn a_name_grants_an_address_once_this_instance_resolved_it() {
    let (listener, there) = host("127.0.0.1");
    let rule = format!("localhost:{}", there.port());
    let place = Place::connecting(&[&rule]);
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Denied), "not resolved yet");

    place.resolver.will_say(&["127.0.0.1"]);
    assert_eq!(place.network.resolve("LocalHost.").await, addresses(&["127.0.0.1"]));
    place.connect(&socket, there).await.expect("a connection");
    take(&listener);

    let other = Place::connecting(&[&rule]);
    let socket = other.network.tcp_socket(false).expect("a socket");
    assert_eq!(other.network.connect_tcp(&socket, there), Err(ErrorCode::Denied), "another instance");
}

#[tokio::test]
async fn rebinding_a_name_changes_nothing() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["localhost:*"]);
    place.resolver.will_say(&["127.0.0.2", "127.0.0.3"]);
    place.resolver.will_say(&["127.0.0.1"]);
    assert_eq!(place.network.resolve("localhost").await, addresses(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(place.network.resolve("localhost").await, addresses(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(place.network.resolve("LOCALHOST.").await, addresses(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(place.resolver.asked(), ["localhost"], "nobody was asked twice");
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, there), Err(ErrorCode::Denied));
}

#[tokio::test]
async fn of_two_answers_at_once_the_first_holds_for_both() {
    let place = Place::connecting(&["example.com:443"]);
    place.resolver.will_say(&["93.184.216.34"]);
    place.resolver.will_say(&["93.184.216.35"]);
    let (first, second) = tokio::join!(place.network.resolve("example.com"), place.network.resolve("example.com"));
    assert_eq!(place.resolver.asked().len(), 2);
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_name_grants_its_own_ports_and_its_own_addresses() {
    let place = Place::new(permissions(&["example.com:443", "example.org:80"], &[], &["example.net"]), None);
    place.resolver.will_say(&["93.184.216.34"]);
    place.resolver.will_say(&["93.184.216.35"]);
    place.resolver.will_say(&["93.184.216.36"]);
    for name in ["example.com", "example.org", "example.net"] {
        place.network.resolve(name).await.expect("addresses");
    }
    for (text, reached) in [
        ("93.184.216.34:443", true),
        ("93.184.216.34:80", false),
        ("93.184.216.35:80", true),
        ("93.184.216.35:443", false),
        ("93.184.216.36:443", false),
        ("93.184.216.36:80", false),
        ("93.184.216.37:443", false),
    ] {
        assert_eq!(place.network.reaches(address(text)), reached, "{text}");
    }
    let socket = place.network.tcp_socket(false).expect("a socket");
    assert_eq!(place.network.connect_tcp(&socket, address("93.184.216.34:80")), Err(ErrorCode::Denied));
    assert_eq!(
        place.the_denial(),
        "denied 93.184.216.34:80 (example.com): not in net.connect (capsule.toml:7); \
         to grant it: net.connect = [\"example.com:443\", \"example.org:80\", \"example.com:80\"]"
    );
}

#[tokio::test]
async fn a_name_leads_to_no_special_address() {
    let place = Place::connecting(&["example.com:443"]);
    place.resolver.will_say(&["127.0.0.1", "::1", "::ffff:10.0.0.1", "169.254.169.254"]);
    assert_eq!(place.network.resolve("example.com").await, Err(ErrorCode::Denied));
    let rules: Vec<String> = place.denied().into_iter().map(|denial| denial.rule).collect();
    assert_eq!(
        rules,
        [
            "example.com resolves to 127.0.0.1, a loopback address",
            "example.com resolves to ::1, a loopback address",
            "example.com resolves to 10.0.0.1, a private address",
            "example.com resolves to 169.254.169.254, a link-local address",
        ]
    );
    let first = place.denied().swap_remove(0);
    assert_eq!(first.resource, "example.com");
    assert_eq!(first.grant.as_deref(), Some(r#"net.connect = ["example.com:443", "127.0.0.1:443"]"#));
    assert_eq!(place.denied()[1].grant.as_deref(), Some(r#"net.connect = ["example.com:443", "[::1]:443"]"#));
    assert!(!place.network.reaches(address("127.0.0.1:443")));
}

#[tokio::test]
async fn what_is_left_of_an_answer_is_pinned() {
    let place = Place::connecting(&["*:443"]);
    place.resolver.will_say(&["10.0.0.1", "93.184.216.34", "93.184.216.34", "::ffff:93.184.216.34"]);
    assert_eq!(place.network.resolve("example.com").await, addresses(&["93.184.216.34"]));
    assert_eq!(place.denied().len(), 1);
    assert!(!place.network.reaches(address("10.0.0.1:443")));
}

#[tokio::test]
async fn the_line_that_would_grant_a_filtered_address_lets_it_through() {
    let place = Place::connecting(&["example.com:443", "127.0.0.1:443"]);
    place.resolver.will_say(&["127.0.0.1"]);
    assert_eq!(place.network.resolve("example.com").await, addresses(&["127.0.0.1"]));
    assert!(place.network.reaches(address("127.0.0.1:443")));
    assert!(!place.network.reaches(address("127.0.0.1:80")));
}

#[tokio::test]
async fn a_name_that_is_not_granted_is_not_looked_up() {
    let place = Place::connecting(&["*.example.com:443", "127.0.0.1:80"]);
    assert_eq!(place.network.resolve("example.com").await, Err(ErrorCode::Denied));
    assert_eq!(
        place.the_denial(),
        "denied example.com: neither in net.connect nor in net.resolve (capsule.toml:7); \
         to grant it: net.resolve = [\"example.com\"]"
    );
    assert_eq!(place.resolver.asked(), [""; 0]);
}

#[tokio::test]
async fn what_is_no_name_is_not_looked_up() {
    let place = Place::connecting(&["*"]);
    for text in ["", "127.1", "2130706433", "0x7f.1", "a b", "bücher.example", "x\0.example", "fe80::1%lo"] {
        assert_eq!(place.network.resolve(text).await, Err(ErrorCode::Invalid), "{text}");
    }
    assert_eq!(place.resolver.asked(), [""; 0]);
}

#[tokio::test]
async fn an_address_stands_for_itself_if_a_rule_could_cover_it() {
    let place = Place::connecting(&["192.0.2.0/24:80-90", "[2001:db8::1]:443", "localhost:1"]);
    assert_eq!(place.network.resolve("192.0.2.9").await, addresses(&["192.0.2.9"]));
    assert_eq!(place.network.resolve("::ffff:192.0.2.9").await, addresses(&["192.0.2.9"]));
    assert_eq!(place.network.resolve("[2001:db8::1]").await, addresses(&["2001:db8::1"]));
    assert_eq!(place.network.resolve("127.0.0.1").await, Err(ErrorCode::Denied));
    assert!(place.the_denial().starts_with("denied 127.0.0.1: not in net.connect"));
    place.resolver.will_say(&["127.0.0.1"]);
    place.network.resolve("localhost").await.expect("an address");
    assert_eq!(place.network.resolve("127.0.0.1").await, addresses(&["127.0.0.1"]));
    assert_eq!(place.resolver.asked(), ["localhost"]);
}

#[tokio::test]
async fn a_failure_is_told_and_not_pinned() {
    let place = Place::connecting(&["example.com:443"]);
    place.resolver.will_fail(io::ErrorKind::NotFound);
    place.resolver.will_fail(io::ErrorKind::TimedOut);
    place.resolver.will_say(&[]);
    place.resolver.will_say(&["93.184.216.34"]);
    assert_eq!(place.network.resolve("example.com").await, Err(ErrorCode::NotFound));
    assert_eq!(place.network.resolve("example.com").await, Err(ErrorCode::TimedOut));
    assert_eq!(place.network.resolve("example.com").await, Err(ErrorCode::NotFound));
    assert_eq!(place.network.resolve("example.com").await, addresses(&["93.184.216.34"]));
}

#[tokio::test]
async fn a_lookup_that_is_given_up_pins_nothing() {
    let place = Place::connecting(&["example.com:443"]);
    let unanswered = place.network.resolve("example.com");
    assert!(tokio::time::timeout(Duration::from_millis(1), unanswered).await.is_err());
    place.resolver.will_say(&["93.184.216.34"]);
    assert_eq!(place.network.resolve("example.com").await, addresses(&["93.184.216.34"]));
}

#[tokio::test]
async fn when_there_is_no_room_for_a_name_it_is_not_looked_up() {
    let place = Place::connecting(&["*.example.com:443"]);
    for number in 0..1024 {
        place.resolver.will_say(&["93.184.216.34"]);
        place.network.resolve(&format!("n{number}.example.com")).await.expect("an address");
    }
    place.resolver.will_say(&["93.184.216.34"]);
    assert_eq!(place.network.resolve("one-more.example.com").await, Err(ErrorCode::NoBufferSpace));
    assert_eq!(place.resolver.asked().len(), 1024);
    assert_eq!(place.network.resolve("n0.example.com").await, addresses(&["93.184.216.34"]));
}

#[tokio::test]
async fn the_resolver_of_the_host_knows_localhost() {
    let found = crate::network::SystemResolver::new().resolve("localhost".to_string());
    let found = soon(found).await.expect("an answer");
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}
