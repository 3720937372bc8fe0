//! An output head that shares its weight with the embedding.

use crate::{Catalogue, ParamInfo};

/// What transformers and PEFT call the embedding and the output head of a language model.
pub const EMBEDDING: &str = "embed_tokens";
pub const OUTPUT_HEAD: &str = "lm_head";

/// The embedding whose weight is the output head's too: a model that has an `embed_tokens` and no
/// `lm_head` is taken for one. PEFT sees two modules there, and trains copies of them.
pub fn tied_embedding(catalogue: &Catalogue) -> Option<&ParamInfo> {
    let params = catalogue.params();
    if params.iter().any(|param| param.path.split('.').any(|segment| segment == OUTPUT_HEAD)) {
        return None;
    }
    params.iter().find(|param| {
        let name = param.module_path().rsplit('.').next();
        param.container == "Embedding" && name == Some(EMBEDDING)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Tiny;

    #[test]
    fn an_embedding_is_tied_where_there_is_no_head() {
        let tied = |from: &str, to: &str| -> Option<String> {
            let all = Catalogue::of(&Tiny::new()).unwrap();
            let renamed = all.params().iter().map(|param| ParamInfo {
                path: param.path.replace("embed.", from).replace("lm_head.", to),
                ..param.clone()
            });
            tied_embedding(&renamed.collect()).map(|param| param.path.clone())
        };
        let path = "model.embed_tokens.weight";
        assert_eq!(tied("model.embed_tokens.", "score.").as_deref(), Some(path));
        assert_eq!(tied("model.embed_tokens.", "lm_head."), None);
        assert_eq!(tied("embed.", "score."), None, "PEFT knows no such embedding");
    }
}
