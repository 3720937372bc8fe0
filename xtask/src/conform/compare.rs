//! Largest errors, held against tolerances.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::TensorData;

use super::tensors::Tensors;
use super::{Case, CaseError};

/// Largest error by quantity, and what did not fit.
#[derive(Debug, Default)]
pub struct Comparison {
    errors: BTreeMap<String, f64>,
    /// Values that had to be equal.
    equal: usize,
    problems: Vec<String>,
    note: Option<String>,
}

impl Comparison {
    /// One that could not be made.
    pub fn failed(error: CaseError) -> Self {
        Self { problems: vec![error.to_string()], ..Self::default() }
    }

    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether nothing was compared.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty() && self.equal == 0 && self.problems.is_empty()
    }

    /// Records an error of `quantity` against its tolerance.
    pub fn error(
        &mut self,
        case: &Case,
        quantity: &str,
        what: &str,
        error: f64,
    ) -> Result<(), CaseError> {
        self.within(quantity, what, error, case.tolerance(quantity)?);
        Ok(())
    }

    /// Compares every element of two tensors; relative to the largest wanted value where the
    /// quantity's name ends in `_rel`.
    pub fn tensor(
        &mut self,
        case: &Case,
        quantity: &str,
        what: &str,
        got: &TensorData,
        want: &TensorData,
    ) -> Result<(), CaseError> {
        self.close(quantity, what, (got, want), case.tolerance(quantity)?);
        Ok(())
    }

    /// Like [`tensor`](Self::tensor), with the tensor `name` of `recorded`, if it is there.
    pub fn recorded(
        &mut self,
        case: &Case,
        quantity: &str,
        name: &str,
        got: &TensorData,
        recorded: &Tensors,
    ) -> Result<(), CaseError> {
        match recorded.find(name) {
            Some(want) => self.tensor(case, quantity, name, got, want),
            None => Ok(()),
        }
    }

    /// Notes what is recorded and was never looked at: it could say anything.
    pub fn all_seen(&mut self, recorded: &Tensors) {
        for name in recorded.unseen() {
            self.problem(format!("`{name}` is recorded, and nothing here is compared with it"));
        }
    }

    /// Like [`tensor`](Self::tensor), with a tolerance that no case records.
    pub fn close(
        &mut self,
        quantity: &str,
        what: &str,
        (got, want): (&TensorData, &TensorData),
        tolerance: f64,
    ) {
        if got.shape() != want.shape() {
            let (got, want) = (got.shape(), want.shape());
            self.problem(format!("{what}: shape {got:?}, expected {want:?}"));
            return;
        }
        let largest = |value: f64, wanted: f32| value.max(f64::from(wanted.abs()));
        let scale = match quantity.ends_with("_rel") {
            true => want.iter::<f32>().fold(f64::MIN_POSITIVE, largest),
            false => 1.0,
        };
        self.within(quantity, what, largest_difference(got, want) / scale, tolerance);
    }

    fn within(&mut self, quantity: &str, what: &str, error: f64, tolerance: f64) {
        let largest = self.errors.entry(quantity.into()).or_insert(0.0);
        *largest = largest.max(error);
        if error.is_nan() || error > tolerance {
            self.problems.push(format!("{what}: {quantity} off by {error:.2e} > {tolerance:.0e}"));
        }
    }

    /// Something that must be equal and is not.
    pub fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub fn equal<T: PartialEq + fmt::Debug>(&mut self, what: &str, got: T, want: T) {
        self.equal += 1;
        if got != want {
            self.problem(format!("{what}: {got:?}, expected {want:?}"));
        }
    }

    /// Says something in the report: under what condition a comparison was made, or why it ended
    /// early.
    pub fn note(&mut self, note: String) {
        self.note = Some(note);
    }
}

/// The largest difference of two elements, NaN if there is one.
pub fn largest_difference(got: &TensorData, want: &TensorData) -> f64 {
    let pairs = got.iter::<f32>().zip(want.iter::<f32>());
    pairs.map(|(a, b)| f64::from((a - b).abs())).fold(0.0, nan_max)
}

/// Unlike `f64::max`, keeps a NaN.
fn nan_max(a: f64, b: f64) -> f64 {
    match a.is_nan() || a > b {
        true => a,
        false => b,
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.errors.iter().map(|(name, error)| format!("{name} {error:.1e}"));
        let mut parts: Vec<String> = errors.collect();
        parts.extend(self.note.clone());
        parts.extend(self.problems.iter().take(3).cloned());
        if self.problems.len() > 3 {
            parts.push(format!("and {} more", self.problems.len() - 3));
        }
        f.write_str(&parts.join("; "))
    }
}
