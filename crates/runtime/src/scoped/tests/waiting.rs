//! Calls that wait.

use super::*;

/// Whatever waits, by what it waits for.
fn waiting(hal: &ScopedHal) -> [Answer<'_>; 4] {
    [
        hal.call(Call::Sleep { until: i128::MAX }),
        hal.call(Call::ChannelReceive { channel: "empty" }),
        hal.call(Call::Invoke { function: "never", arguments: Vec::new() }),
        hal.call(Call::Ready { handle: Handle::STDIN, interest: Interest::Readable }),
    ]
}

#[tokio::test]
async fn nothing_waits_when_a_verdict_falls() {
    let (_pipe, end) = stdio::pipe();
    let mut surroundings = Surroundings::default();
    surroundings.functions.offer("never", |_| Box::pin(std::future::pending()));
    let lab = lab_in(surroundings, |spec, _| {
        spec.permissions.channel_receive.push(NamePattern("*".into()));
        spec.stdio.stdin = StreamIn::File(end);
    });
    let mut answers = Vec::new();
    for answer in waiting(&lab.hal) {
        let Answer::Later(mut future) = answer else { panic!("it does not wait") };
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        answers.push(future);
    }
    lab.hal.stop();
    for answer in answers {
        let ended = tokio::time::timeout(Duration::from_secs(5), answer).await.expect("it still waits");
        assert_eq!(ended, Err(ErrorCode::Stopping));
    }
    assert_eq!(lab.call(Call::Environment), Err(ErrorCode::Stopping));
    assert_eq!(lab.hal.verdict(), Verdict::Stopped);
}

#[tokio::test(start_paused = true)]
async fn sleep_ends_when_the_clock_shows_the_time() {
    let lab = lab(|_, _| ());
    let Ok(Reply::Time(now)) = lab.call(Call::Now { clock: ringfence_abi::Clock::Monotonic }) else {
        panic!("the clock is on")
    };
    assert_eq!(lab.hal.call(Call::Sleep { until: now + 1_000_000 }).wait().await, Ok(Reply::Done));
    let Ok(Reply::Time(later)) = lab.call(Call::Now { clock: ringfence_abi::Clock::Monotonic }) else {
        panic!("the clock is on")
    };
    assert!(later >= now + 1_000_000);
}

#[tokio::test]
async fn a_port_is_free_when_its_socket_is_closed_whoever_waits_for_it() {
    let lab = lab(|spec, _| {
        spec.permissions.network.listen = ringfence_manifest::ListenRule::parse("127.0.0.1:*").unwrap();
    });
    let open = || match lab.call(Call::TcpSocket { ipv6: false }) {
        Ok(Reply::Handle(socket)) => socket,
        other => panic!("{other:?}"),
    };
    let listen = |socket, address| {
        lab.call(Call::Bind { socket, address }).and_then(|_| lab.call(Call::Listen { socket })).map(drop)
    };
    let waited_for = async |handle| {
        let Ok(Reply::Address(address)) = lab.call(Call::LocalAddress { socket: handle }) else {
            panic!("it is bound")
        };
        let Answer::Later(mut waits) = lab.hal.call(Call::Ready { handle, interest: Interest::Readable }) else {
            panic!("nobody came")
        };
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(waits.as_mut().poll(context))).await;
        assert!(polled.is_pending());
        (address, waits)
    };
    let first = open();
    assert_eq!(listen(first, "127.0.0.1:0".parse().unwrap()), Ok(()));
    let (address, _waits) = waited_for(first).await;
    // Not as long as another handle is there.
    let Ok(Reply::Handle(other)) = lab.call(Call::Duplicate { handle: first, rights: ringfence_abi::Rights::all() })
    else {
        panic!("it is there twice")
    };
    assert_eq!(lab.call(Call::Close { handle: other }), Ok(Reply::Done));
    assert_eq!(listen(open(), address), Err(ErrorCode::AddressInUse));
    let alone = open();
    assert_eq!(listen(alone, "127.0.0.1:0".parse().unwrap()), Ok(()));
    let (address, waits) = waited_for(alone).await;
    assert_eq!(lab.call(Call::Close { handle: alone }), Ok(Reply::Done));
    assert_eq!(listen(open(), address), Ok(()));
    tokio::time::timeout(Duration::from_secs(5), waits).await.expect("it still waits").unwrap();
}
