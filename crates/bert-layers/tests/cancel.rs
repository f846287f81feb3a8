//! A cancelled call ends; a model is loaded once.

mod support;

use std::time::{Duration, Instant};

use bert_layers::{Cancel, EncodeOptions, Encoder, Error, Input, LoadOptions};
use support::{DEVICES, fixture, load};

#[test]
fn cancelled_before_and_during() {
    for device in DEVICES {
        let encoder = load("goldens/bert", device);
        let inputs = vec![Input::Ids { ids: vec![7; 80], type_ids: None, attention_mask: None }; 600];
        let cancel = Cancel::new();
        let options = EncodeOptions { cancel: cancel.clone(), ..EncodeOptions::default() };
        let whole = Instant::now();
        encoder.encode(&inputs, &options).expect("sound inputs");
        let whole = whole.elapsed();
        let stopped = Instant::now();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| encoder.encode(&inputs, &options));
            std::thread::sleep(whole / 10);
            cancel.cancel();
            assert_eq!(call.join().expect("no panic"), Err(Error::Cancelled), "{device:?}");
        });
        // Not a bound on speed: a call that ignored the flag would have taken as long as the whole one.
        assert!(stopped.elapsed() < whole + Duration::from_secs(5), "{device:?}");
        assert_eq!(encoder.encode(&inputs, &options), Err(Error::Cancelled));
        encoder.encode(&inputs[..1], &EncodeOptions::default()).expect("the encoder is as usable as before");
    }
}

#[test]
fn loading_stops_too() {
    let cancel = Cancel::new();
    cancel.cancel();
    let options = LoadOptions { cancel, ..LoadOptions::default() };
    let error =
        Encoder::from_pretrained(&fixture("goldens/bert-relu").to_string_lossy(), &options).expect_err("cancelled");
    assert_eq!(error, Error::Cancelled);
}
