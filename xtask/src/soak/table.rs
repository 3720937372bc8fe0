//! What the soak prints.

use super::event::{Event, Kind};

/// The table of events, printed as they happen, and what is counted of them.
#[derive(Default)]
pub struct Table {
    round: u64,
    method: &'static str,
    events: Vec<Event>,
    problems: usize,
}

impl Table {
    pub fn header(&self) {
        println!(
            "{:>5}  {:<12}  {:<34}  {:>7}  {:>12}  {:>4}  {:>7}",
            "round", "method", "event", "at step", "goes on from", "lost", "allowed"
        );
    }

    /// Begins a round.
    pub fn round(&mut self, round: u64, method: &'static str) {
        (self.round, self.method) = (round, method);
    }

    pub fn event(&mut self, event: &Event) {
        let Event { kind, detail, reached, kept } = event;
        let name = format!("{} {detail}", kind.name());
        let (lost, allowed) = (event.lost(), kind.allowed());
        let mark = if event.is_loss() { "  LOST" } else { "" };
        self.line(&format!("{name:<34}  {reached:>7}  {kept:>12}  {lost:>4}  {allowed:>7}{mark}"));
        self.problems += usize::from(event.is_loss());
        self.events.push(event.clone());
    }

    /// Ends a round: with `difference` from the run that was left alone, if there is one.
    pub fn finished(&mut self, difference: Option<&str>) {
        match difference {
            None => self.line("finished: bit-equal to the undisturbed run"),
            Some(difference) => self.problem(difference),
        }
    }

    /// Notes what should not be.
    pub fn problem(&mut self, problem: &str) {
        self.line(&format!("FAIL {problem}"));
        self.problems += 1;
    }

    /// How many things were not as they should be.
    pub fn problems(&self) -> usize {
        self.problems
    }

    /// Sums by kind.
    pub fn totals(&self) {
        println!(
            "\n{:<10}  {:>6}  {:>10}  {:>12}",
            "in all", "events", "steps lost", "most at once"
        );
        for kind in Kind::ALL {
            let lost = || self.events.iter().filter(|event| event.kind == kind).map(Event::lost);
            let (count, sum, most) = (lost().count(), lost().sum::<usize>(), lost().max());
            println!("{:<10}  {count:>6}  {sum:>10}  {:>12}", kind.name(), most.unwrap_or(0));
        }
        match self.problems {
            0 => println!("{} rounds: nothing lost beyond the interval", self.round),
            problems => println!("{} rounds: {problems} problems", self.round),
        }
    }

    fn line(&self, text: &str) {
        println!("{:>5}  {:<12}  {text}", self.round, self.method);
    }
}
