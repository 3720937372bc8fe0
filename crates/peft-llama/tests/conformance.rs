//! The decoder in half precision against the reference results in `tests/cases` of the workspace. In f32,
//! `cargo xtask conform` and its tests compare everything that is recorded.

use std::path::PathBuf;

use burn::store::{ModuleStore, SafetensorsStore, bridge};
use burn::tensor::{DType, Int, Tensor, TensorData};
use peft_llama::Checkpoint;
use peft_testing::device_with;

const CASES: [&str; 4] = ["llama_tiny", "llama3_rope_tiny", "gemma_tiny", "gemma2_tiny"];

fn recorded(dir: PathBuf, name: &str) -> TensorData {
    let mut store = SafetensorsStore::from_file(dir.join("io.safetensors"));
    bridge::to_data(&store.get_all_tensors().unwrap()[name]).unwrap()
}

#[test]
fn half_precision_stays_close() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    for dir in CASES.map(|case| cases.join(case)) {
        let checkpoint = Checkpoint::open(&dir).unwrap();
        let want: Vec<f32> = recorded(dir.clone(), "logits").try_into_vec().unwrap();
        let largest = want.iter().fold(0f32, |a, b| a.max(b.abs()));
        for (dtype, allowed) in [(DType::BF16, 0.1), (DType::F16, 0.02)] {
            let device = device_with(dtype);
            let (model, report) = checkpoint.load(&device, Some(dtype), |_| ()).unwrap();
            assert_eq!(report.dtype, dtype);
            let ids = Tensor::<2, Int>::from_data(recorded(dir.clone(), "input_ids"), &device);
            let logits = model.forward(ids, None);
            assert_eq!(logits.dtype(), dtype);
            let got: Vec<f32> = logits.try_into_vec_as().unwrap();
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(&want) {
                let error = (got - want).abs() / largest; // not a number is no error allowed
                assert!(error < allowed, "{dtype:?} differs by {error} of the largest logit");
            }
        }
    }
}
