//! Tensors in few lines.

use burn::tensor::DType;
use indicatif::HumanCount;

/// Tensors that differ in the numbers of their names only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorGroup {
    /// Their name, with `*` for every number in which they may differ.
    pub name: String,
    /// Shape of each.
    pub shape: Vec<usize>,
    /// Type of their elements.
    pub dtype: DType,
    /// How many there are.
    pub count: usize,
}

impl TensorGroup {
    /// Adds a tensor to its group, or a group for it.
    pub(super) fn add(groups: &mut Vec<Self>, name: &str, shape: &[usize], dtype: DType) {
        let name = without_numbers(name);
        let known = groups
            .iter_mut()
            .find(|group| group.name == name && group.shape == shape && group.dtype == dtype);
        match known {
            Some(group) => group.count += 1,
            None => groups.push(Self { name, shape: shape.into(), dtype, count: 1 }),
        }
    }

    /// Elements of all of them.
    pub fn num_elements(&self) -> usize {
        self.count * self.shape.iter().product::<usize>()
    }

    /// `model.layers.*.mlp.up_proj.weight  BF16 [432, 160] × 5 = 345,600`.
    pub(super) fn line(&self, width: usize) -> String {
        let Self { name, shape, dtype, count } = self;
        let elements = HumanCount(self.num_elements() as u64);
        format!("{name:<width$}  {dtype:?} {shape:?} × {count} = {elements}")
    }
}

fn without_numbers(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = name.split('.').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_share_a_line_unless_they_differ() {
        let mut groups = Vec::new();
        for (name, rows, dtype) in [
            ("layers.0.up.weight", 2, DType::F32),
            ("layers.1.up.weight", 2, DType::F32),
            ("layers.2.up.weight", 3, DType::F32),
            ("layers.3.up.weight", 2, DType::BF16),
            ("head2.weight", 2, DType::F32),
        ] {
            TensorGroup::add(&mut groups, name, &[rows, 4], dtype);
        }
        let lines: Vec<_> = groups.iter().map(|group| group.line(0)).collect();
        assert_eq!(
            lines,
            [
                "layers.*.up.weight  F32 [2, 4] × 2 = 16",
                "layers.*.up.weight  F32 [3, 4] × 1 = 12",
                "layers.*.up.weight  BF16 [2, 4] × 1 = 8",
                "head2.weight  F32 [2, 4] × 1 = 8",
            ]
        );
    }
}
