//! Words that many nodes share, each kept once.

use std::collections::HashMap;
use std::rc::Rc;

/// Words by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    words: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, u32>,
}

impl Pool {
    /// The number of a word.
    pub(crate) fn number(&mut self, word: &str) -> u32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        let word: Rc<str> = Rc::from(word);
        self.words.push(Rc::clone(&word));
        self.numbers.insert(word, number);
        number
    }

    /// The word of a number; nothing where there is none.
    pub(crate) fn word(&self, number: u32) -> &str {
        usize::try_from(number).ok().and_then(|at| self.words.get(at)).map_or("", |word| word)
    }

    /// All words, in the order of their numbers.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|word| &**word)
    }
}
