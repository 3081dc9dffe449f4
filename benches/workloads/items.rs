//! What is sent.

/// Something that can be sent, and that carries a number.
pub(super) trait Item: Send + Sync + 'static {
    fn with_number(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Item for u64 {
    fn with_number(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

/// 64 bytes.
pub(super) type Words = [u64; 8];

impl Item for Words {
    fn with_number(number: u64) -> Self {
        [number; 8]
    }

    fn number(&self) -> u64 {
        self[0]
    }
}

impl Item for Box<u64> {
    fn with_number(number: u64) -> Self {
        Box::new(number)
    }

    fn number(&self) -> u64 {
        **self
    }
}

/// A log line of 60 bytes, which begins with the number.
impl Item for String {
    fn with_number(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut line = String::with_capacity(60);
        for digit in 0..16 {
            line.push(char::from(DIGITS[(number >> (4 * digit)) as usize % 16]));
        }
        line.push_str(" the session was closed after 30 s of silence");
        line
    }

    fn number(&self) -> u64 {
        let digits = self.chars().take(16).enumerate();
        digits.map(|(place, digit)| u64::from(digit.to_digit(16).unwrap_or(0)) << (4 * place)).sum()
    }
}

/// As a logger sends it, with the message in line: 200 bytes.
pub(super) struct Record {
    time: u64,
    _target: &'static str,
    _level: u32,
    _len: u32,
    _message: [u8; 168],
}

const _: () = assert!(usize::BITS != 64 || size_of::<Record>() == 200);

impl Item for Record {
    fn with_number(number: u64) -> Self {
        Self {
            time: number,
            _target: "workloads",
            _level: 3,
            _len: 168,
            _message: [number as u8; 168],
        }
    }

    fn number(&self) -> u64 {
        self.time
    }
}
