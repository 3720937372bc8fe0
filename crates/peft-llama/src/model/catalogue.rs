//! The parameters of a decoder that was not built.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use peft_core::{Catalogue, ParamInfo};

use crate::DecoderConfig;

impl DecoderConfig {
    /// The parameters a decoder of this configuration has, as [`Catalogue::of`] lists them for one
    /// that is loaded on `device`. Nothing is allocated.
    pub fn catalogue(&self, device: &Device) -> Catalogue {
        let (path, containers, params) = Default::default();
        let mut lister = Lister { path, containers, params, device: device.clone() };
        self.init(device).visit(&mut lister);
        lister.params.into_iter().collect()
    }
}

struct Lister {
    path: Vec<String>,
    containers: Vec<String>,
    params: Vec<ParamInfo>,
    device: Device,
}

impl ModuleVisitor for Lister {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.into());
        self.containers.push(container_type.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let container = self.containers.last().map(String::as_str).unwrap_or_default();
        let container = container.strip_prefix("Struct:").unwrap_or(container).to_string();
        let mut shape = param.lazy_shape().to_vec();
        if container == "Linear" && D == 2 {
            shape.reverse(); // before a linear weight exists, its shape is the stored one
        }
        let (id, path) = (param.id, self.path.join("."));
        self.params.push(ParamInfo { id, path, container, shape, device: self.device.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fixtures::{tiny, tiny_gemma2, tiny_with};
    use crate::testing::device;
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
