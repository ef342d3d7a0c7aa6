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
