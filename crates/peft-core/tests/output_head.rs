//! A subnet over an output head keeps all of the hidden dimension.

mod common;

use common::{Mlp, attach, batches, bits, config, device, step};
use peft_core::Event;

#[test]
fn a_head_keeps_all_inputs_and_a_share_of_the_vocabulary() {
    let device = device();
    let batches = batches(&device, 4);
    let config =
        || config().with_output_head(Some("head.weight".into())).with_output_dim_factor(0.3);
    for pro in [true, false] {
        let original = Mlp::new(&device, true);
        let (mut tuner, mut model) = attach(config().with_pro(pro), original.clone());
        assert_eq!(tuner.method().slot_count(), 3);
        let head = &tuner.method().targets()[0];
        assert_eq!((head.path(), head.slot()), ("head.weight", 0));
        assert_eq!(head.subnet().rows(), (0..16).collect::<Vec<_>>());
        let mut trained = head.subnet().cols().to_vec();
        assert_eq!(trained.len(), 3);
        for index in 0..12 {
            let (next, _, events) = step(&mut tuner, model, &batches[index % 4]);
            model = next;
            for event in events.into_iter().filter_map(Event::into_relocalization) {
                if event.path == "head.weight" {
                    assert_eq!(event.subnet.size(), [16, 3]);
                    trained.extend(event.subnet.cols());
                }
            }
        }
        assert_eq!(trained.len(), 2 * 3 + 3, "moved at steps 2 and 11");
        let before = bits(&original.head.weight.val().into_data());
        let after = bits(&tuner.merge(model).unwrap().head.weight.val().into_data());
        for (index, (was, is)) in before.into_iter().zip(after).enumerate() {
            assert!(was == is || trained.contains(&(index % 10)), "column {}", index % 10);
            let first = trained[..3].contains(&(index % 10));
            assert!(was != is || !first, "entry {index} was in the first block and never moved");
        }
    }
}

#[test]
fn without_a_share_the_head_is_left_alone() {
    let config = config().with_output_head(Some("head.weight".into()));
    let (tuner, model) = attach(config, Mlp::new(&device(), true));
    assert_eq!(tuner.method().slot_count(), 2);
    assert!(model.head.weight.reparameterization::<peft_core::adapter::Adapter>().is_none());
    assert!(!model.head.weight.is_require_grad());
}
