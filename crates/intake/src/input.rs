//! Opening files, whatever they are compressed with, and reading them line by line.

use crate::{
    error::{FileContext, FileProblem, IntakeError, PlaceProblem},
    limits::LINE_BYTES_MAX,
};
use flate2::bufread::MultiGzDecoder;
use noodles::bgzf;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes read from a disk at once.
const FILE_BUFFER_BYTES: usize = 1 << 18;
/// Bytes decompressed at once.
const TEXT_BUFFER_BYTES: usize = 1 << 20;
/// The empty block that ends every complete BGZF file (SAM specification, section 4.1.2).
const BGZF_END: [u8; 28] = [
    0x1f, 0x8b, 0x08, 0x04, 0, 0, 0, 0, 0, 0xff, 0x06, 0, 0x42, 0x43, 0x02, 0, 0x1b, 0, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A file opened for reading, decompressed on the way if its first bytes ask for it: gzip, BGZF or
/// zstd. Names do not matter.
pub(crate) struct Input {
    pub(crate) context: FileContext,
    reader: Box<dyn BufRead + Send>,
    bytes_read: Arc<AtomicU64>,
    bytes_total: u64,
}

impl Input {
    /// Opens a file.
    ///
    /// # Errors
    /// [`IntakeError`] when it is missing, empty, a directory, a zip archive, or a BGZF file
    /// without its end mark.
    pub(crate) fn open(path: &Path) -> Result<Self, IntakeError> {
        let context = FileContext::new(path);
        let open = |source| IntakeError::Open { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(open)?;
        let metadata = file.metadata().map_err(open)?;
        if !metadata.is_file() {
            return Err(context.file(FileProblem::NotAFile));
        }
        let bytes_total = metadata.len();
        if bytes_total == 0 {
            return Err(context.file(FileProblem::Empty));
        }
        let kind = Kind::of(&mut file).map_err(|error| context.read(error))?;
        if kind == Kind::Bgzf && !ends_as_bgzf(&mut file).map_err(|error| context.read(error))? {
            return Err(context.file(FileProblem::Truncated));
        }
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counting = Counting { file, bytes_read: Arc::clone(&bytes_read) };
        let buffered = BufReader::with_capacity(FILE_BUFFER_BYTES, counting);
        let reader: Box<dyn BufRead + Send> = match kind {
            Kind::Plain => Box::new(buffered),
            Kind::Gzip => Box::new(BufReader::with_capacity(TEXT_BUFFER_BYTES, MultiGzDecoder::new(buffered))),
            Kind::Bgzf => Box::new(bgzf::io::Reader::new(buffered)),
            Kind::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(buffered).map_err(|e| context.read(e))?;
                Box::new(BufReader::with_capacity(TEXT_BUFFER_BYTES, decoder))
            }
            Kind::Zip => return Err(context.file(FileProblem::Zip)),
        };
        Ok(Self { context, reader, bytes_read, bytes_total })
    }

    /// Bytes of the file read so far, before decompression.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Bytes of the file.
    pub(crate) fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// The bytes that come next, without taking them; empty at the end.
    pub(crate) fn peek(&mut self) -> Result<&[u8], IntakeError> {
        let Self { context, reader, .. } = self;
        reader.fill_buf().map_err(|error| context.read(error))
    }

    /// Appends up to `len` bytes to `buffer`, growing it only as they come, and returns how many;
    /// less only at the end of the file.
    pub(crate) fn read_up_to(&mut self, buffer: &mut Vec<u8>, len: usize) -> Result<usize, IntakeError> {
        let Self { context, reader, .. } = self;
        reader.take(len as u64).read_to_end(buffer).map_err(|error| context.read(error))
    }

    /// Fills `buffer` and returns how much of it; less than all only at the end of the file.
    pub(crate) fn read_full(&mut self, buffer: &mut [u8]) -> Result<usize, IntakeError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.context.read(error)),
            }
        }
        Ok(filled)
    }
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Gzip,
    Bgzf,
    Zstd,
    Zip,
}

impl Kind {
    /// Looks at the first bytes and goes back to the start.
    fn of(file: &mut File) -> io::Result<Self> {
        let mut start = Vec::with_capacity(18);
        file.take(18).read_to_end(&mut start)?;
        file.rewind()?;
        Ok(match start.as_slice() {
            [0x1f, 0x8b, 8, flags, _, _, _, _, _, _, _, _, b'B', b'C', ..] if flags & 4 != 0 => Kind::Bgzf,
            [0x1f, 0x8b, ..] => Kind::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Kind::Zstd,
            [b'P', b'K', 3, 4, ..] => Kind::Zip,
            _ => Kind::Plain,
        })
    }
}

fn ends_as_bgzf(file: &mut File) -> io::Result<bool> {
    let mut end = [0; BGZF_END.len()];
    let found = match file.seek(SeekFrom::End(-28)) {
        Ok(_) => file.read_exact(&mut end).map(|()| end == BGZF_END)?,
        Err(_) => false,
    };
    file.rewind()?;
    Ok(found)
}

/// Counts what is read from a file.
struct Counting {
    file: File,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The lines of a text file, one at a time, in one reused buffer.
pub(crate) struct Lines {
    pub(crate) input: Input,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    pub(crate) fn new(input: Input) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// Number of the line read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The line read last, without its end.
    pub(crate) fn current(&self) -> &[u8] {
        &self.line
    }

    /// An error about the line read last.
    pub(crate) fn error(&self, problem: PlaceProblem) -> IntakeError {
        self.input.context.line(self.number, problem)
    }

    /// Reads a line; false at the end of the file. LF, CR LF and a byte order mark are taken off.
    ///
    /// # Errors
    /// [`IntakeError`] when reading fails or the line is too long.
    pub(crate) fn advance(&mut self) -> Result<bool, IntakeError> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let Input { context, reader, .. } = &mut self.input;
        let count = reader.take(limit).read_until(b'\n', &mut self.line).map_err(|error| context.read(error))?;
        if count == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > LINE_BYTES_MAX {
            return Err(self.error(PlaceProblem::LineTooLong));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        if self.number == 1 && self.line.starts_with(b"\xef\xbb\xbf") {
            self.line.drain(..3);
        }
        Ok(true)
    }
}
