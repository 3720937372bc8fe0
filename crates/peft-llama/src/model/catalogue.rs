//! The parameters of a decoder that was not built.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use peft_core::{Catalogue, ParamInfo, Place, VisitFloat, visit_floats};

use crate::DecoderConfig;

impl DecoderConfig {
    /// The parameters a decoder of this configuration has, as [`Catalogue::of`] lists them for one
    /// that is loaded on `device`. Nothing is allocated.
    pub fn catalogue(&self, device: &Device) -> Catalogue {
        let mut lister = Lister { params: Vec::new(), device };
        visit_floats(&self.init(device), &mut lister);
        lister.params.into_iter().collect()
    }
}

struct Lister<'a> {
    params: Vec<ParamInfo>,
    device: &'a Device,
}

impl VisitFloat for Lister<'_> {
    fn visit<const D: usize>(&mut self, place: Place<'_>, param: &Param<Tensor<D>>) {
        let mut shape = param.lazy_shape().to_vec();
        if place.container() == "Linear" && D == 2 {
            shape.reverse(); // before a linear weight exists, its shape is the stored one
        }
        self.params.push(ParamInfo {
            id: param.id,
            path: place.path(),
            container: place.container().into(),
            shape,
            device: self.device.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{tiny, tiny_gemma2, tiny_with};
    use peft_testing::device;
    use serde_json::json;

    #[test]
    fn it_is_the_catalogue_of_the_built_model() {
        for config in
            [tiny(), tiny_with(json!({"attention_bias": true, "mlp_bias": true})), tiny_gemma2()]
        {
            let built = Catalogue::of(&config.init(&device())).unwrap();
            let outline = config.catalogue(&device());
            let facts = |catalogue: &Catalogue| -> Vec<_> {
                let all = catalogue.params().iter();
                all.map(|p| (p.path.clone(), p.container.clone(), p.shape.clone())).collect()
            };
            assert_eq!(facts(&outline), facts(&built));
            assert_eq!(outline.params()[0].device, built.params()[0].device);
        }
    }
}
