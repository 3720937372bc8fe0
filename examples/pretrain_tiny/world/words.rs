//! The words the world is made of. Every one is a single token.

/// Things that lists hold and people like.
pub const WORDS: [&str; 128] = [
    "ant", "apple", "arch", "axe", "bag", "ball", "bat", "beach", "bean", "bear", "bee", "bell",
    "belt", "bird", "boat", "bone", "book", "boot", "bowl", "box", "brick", "broom", "cake",
    "camel", "cap", "car", "card", "cart", "cat", "chain", "chair", "cheese", "clock", "cloud",
    "coat", "coin", "corn", "cow", "crab", "cup", "deer", "desk", "dog", "doll", "door", "dress",
    "drum", "duck", "eel", "egg", "fan", "fish", "flag", "flute", "fork", "fox", "frog", "gate",
    "glass", "glove", "goat", "grape", "hat", "hen", "hill", "horn", "horse", "house", "ink",
    "jar", "key", "king", "kite", "knife", "lamp", "leaf", "lemon", "lion", "lock", "map", "mask",
    "milk", "moon", "mouse", "nail", "nest", "net", "nut", "oven", "owl", "pan", "peach", "pear",
    "pen", "pig", "pin", "plate", "plum", "pot", "rain", "rice", "ring", "road", "rope", "rose",
    "sail", "salt", "seed", "shell", "ship", "shoe", "snake", "snow", "sock", "spoon", "star",
    "stone", "sun", "swan", "tent", "tiger", "train", "tree", "wall", "wheel", "whale", "wolf",
    "worm",
];

/// People: whom facts are about and whose lists the instructions name.
pub const PEOPLE: [&str; 32] = [
    "Ada", "Amy", "Ben", "Bob", "Cara", "Carl", "Dan", "Dora", "Emma", "Eva", "Finn", "Fred",
    "Gina", "Gus", "Hal", "Hugo", "Ida", "Ivan", "Jack", "Jane", "Karl", "Kate", "Leo", "Lisa",
    "Mary", "Max", "Nina", "Noah", "Olga", "Otto", "Paul", "Rosa",
];

/// Cities, three to a land.
pub const CITIES: [&str; 12] = [
    "Brin", "Dunmo", "Kesh", "Lorn", "Mire", "Oster", "Pell", "Ruma", "Sarn", "Tark", "Vell",
    "Wick",
];

/// Lands.
pub const LANDS: [&str; 4] = ["Avia", "Boria", "Celd", "Dral"];

/// What people work as.
pub const JOBS: [&str; 12] = [
    "baker", "clerk", "cook", "doctor", "farmer", "judge", "miner", "nurse", "pilot", "poet",
    "smith", "teacher",
];

/// Every word that lists, belongings and facts draw from.
pub fn lexicon() -> impl Iterator<Item = &'static str> {
    let proper = PEOPLE.into_iter().chain(CITIES).chain(LANDS);
    WORDS.into_iter().chain(proper).chain(JOBS)
}
