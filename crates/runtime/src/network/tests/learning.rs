use super::*;

fn learning() -> Place {
    Place::new(Permissions { learn: true, ..Permissions::default() }, None)
}

#[tokio::test]
async fn what_is_used_is_granted_and_noted() {
    let (listener, there) = host("127.0.0.1");
    let place = learning();
    let socket = place.connected(there).await;
    take(&listener);
    drop(socket);
    place.resolver.will_say(&["127.0.0.1"]);
    place.network.resolve("Example.com").await.expect("an address");
    place.connected(there).await;
    let server = place.network.tcp_socket(false).expect("a socket");
    place.network.bind_tcp(&server, address("127.0.0.1:0")).expect("bound");
    let mut learned = locked(&place.learned).clone();
    learned.dedup();
    assert_eq!(
        learned,
        [
            (Permission::NetConnect, there.to_string()),
            (Permission::NetResolve, "example.com".to_string()),
            (Permission::NetConnect, format!("example.com:{}", there.port())),
            (Permission::NetListen, "127.0.0.1:0".to_string()),
        ]
    );
    assert_eq!(place.denied(), []);
}

#[tokio::test]
async fn link_local_addresses_and_metadata_services_stay_out_of_reach() {
    let place = learning();
    for text in ["169.254.169.254:80", "168.63.129.16:80", "100.100.100.200:80", "[fd00:ec2::254]:80"] {
        let socket = place.network.tcp_socket(address(text).is_ipv6()).expect("a socket");
        assert_eq!(place.network.connect_tcp(&socket, address(text)), Err(ErrorCode::Denied), "{text}");
    }
    place.resolver.will_say(&["169.254.169.254"]);
    assert_eq!(place.network.resolve("metadata.example").await, Err(ErrorCode::Denied));
    assert_eq!(place.denied().len(), 5);
    assert_eq!(place.network.resolve("169.254.169.254").await, Err(ErrorCode::Denied));
    assert_eq!(*locked(&place.learned), [(Permission::NetResolve, "metadata.example".to_string())]);
}

#[tokio::test]
async fn nothing_is_noted_when_nothing_is_to_be_learned() {
    let (_listener, there) = host("127.0.0.1");
    let place = Place::connecting(&["127.0.0.1:*"]);
    place.connected(there).await;
    assert_eq!(*locked(&place.learned), []);
}
