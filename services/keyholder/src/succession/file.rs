//! The file in which one keyholder hands over to a successor (SPEC, clause 30).
//!
//! Layout: a line that names the format, then frames of a length (4, little endian) and that many bytes: the header,
//! and pieces that are sealed to the successor. The opened pieces, one after the other, are records, each after its
//! length (Protocol Buffers, length-delimited); the last piece is the giver's signature.

use super::SuccessionError;
use locus_commitment::{Address, Digest32, NetworkId, Sha3Writer, sha3_256};
use locus_ledger::{AccountKey, recover};
use locus_sharing::{
    KeyholderIndex, ShareIndex,
    seal::{SEALED_BYTES_MAX, SealBinding, SealedBox, SealingPrivateKey, SealingPublicKey, open, seal},
};
use prost::Message as _;
use std::io::{self, Read, Write};
use zeroize::Zeroizing;

const FORMAT: &[u8] = b"locus-hand-over 1\n";
const DST_HEADER: &str = "locus/keyholder/hand-over-header/v1";
const DST_FILE: &str = "locus/keyholder/hand-over/v1";
const DST_PIECE: &[u8] = b"locus/keyholder/hand-over-piece/v1";
/// Bytes of records in a piece.
const PIECE_BYTES: usize = 256 << 10;
/// Most bytes of a record. The largest is a person's budget, below 3 MB after three losses.
const RECORD_BYTES_MAX: usize = 4 << 20;
const HEADER_BYTES_MAX: usize = 256;

/// What a record is about. Records come in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    /// The noise key of the common share.
    NoiseKey = 1,
    /// (registration, ordinal) to seed, blinding and the commitment to the third share.
    Seed = 2,
    /// Registration to its live attribute statement.
    AttributeState = 3,
    /// Digest to a schema's document.
    Schema = 4,
    /// (registration, ordinal) to schema, commitment and share 3 where both hold it.
    Attributes = 5,
    /// Person to budget.
    Budget = 6,
    /// Charge name to uses.
    Uses = 7,
    /// Question key to slots left out for want of budget.
    Exclusions = 8,
    /// Charge name.
    ChargedByAll = 9,
    /// Digest of a set of people who were answered exactly.
    ExactSet = 10,
    /// Person to the group of people always answered together.
    ExactGroup = 11,
    /// Keyholder to the longest charge log seen of it.
    Sequence = 12,
}

/// One thing that is handed over.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(crate) struct Record {
    #[prost(enumeration = "Kind", tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) value: Vec<u8>,
}

impl Record {
    pub(crate) fn new(kind: Kind, key: &[u8], value: &[u8]) -> Self {
        Self { kind: kind.into(), key: key.to_vec(), value: value.to_vec() }
    }

    /// Where it stands among the records.
    pub(crate) fn place(&self) -> (i32, &[u8]) {
        (self.kind, &self.key)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.value);
    }
}

/// Who hands over what to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) network: NetworkId,
    pub(crate) giver: KeyholderIndex,
    pub(crate) successor: KeyholderIndex,
    pub(crate) successor_signer: Address,
}

impl Header {
    /// The share that both hold: that of the third keyholder's number, which it does not hold.
    pub(crate) fn common_share(&self) -> Result<ShareIndex, SuccessionError> {
        let is_common = |share: &ShareIndex| self.giver.holds(*share) && self.successor.holds(*share);
        let mut common = ShareIndex::ALL.into_iter().filter(is_common);
        match (common.next(), common.next()) {
            (Some(share), None) => Ok(share),
            _ => Err(SuccessionError::Itself(self.giver.get())),
        }
    }

    /// Chain id (8), registry (20), giver (1), successor (1), signer of the successor (20).
    fn to_bytes(self) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            &self.network.chain_id.to_le_bytes(),
            &self.network.registry.0,
            &[self.giver.get()],
            &[self.successor.get()],
            &self.successor_signer.0,
        ];
        parts.concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (chain_id, rest) = bytes.split_first_chunk::<8>()?;
        let (registry, rest) = rest.split_first_chunk::<20>()?;
        let ([giver, successor], rest) = rest.split_first_chunk::<2>()?;
        let signer: [u8; 20] = rest.try_into().ok()?;
        Some(Self {
            network: NetworkId { chain_id: u64::from_le_bytes(*chain_id), registry: Address(*registry) },
            giver: KeyholderIndex::try_new(*giver).ok()?,
            successor: KeyholderIndex::try_new(*successor).ok()?,
            successor_signer: Address(signer),
        })
    }

    fn digest(self) -> Digest32 {
        sha3_256(DST_HEADER, &[&self.to_bytes()])
    }
}

/// What is signed and sealed so far.
struct Transcript {
    header: Digest32,
    pieces: u64,
    writer: Sha3Writer,
}

impl Transcript {
    fn begin(header: &Header) -> Self {
        let mut writer = Sha3Writer::new(DST_FILE);
        let header = header.digest();
        writer.part(&header.0);
        Self { header, pieces: 0, writer }
    }

    /// What the next piece is sealed under: header (32), number (8), whether it is the last (1).
    fn associated_data(&self, is_last: bool) -> Vec<u8> {
        let parts: [&[u8]; 3] = [&self.header.0, &self.pieces.to_le_bytes(), &[u8::from(is_last)]];
        parts.concat()
    }

    fn take(&mut self, piece: &[u8]) {
        self.writer.part(piece);
        self.pieces += 1;
    }
}

fn binding(associated_data: &[u8]) -> SealBinding<'_> {
    SealBinding { info: DST_PIECE, associated_data }
}

/// Writes a hand-over.
pub(crate) struct HandOverWriter<W> {
    file: W,
    recipient: SealingPublicKey,
    transcript: Transcript,
    piece: Zeroizing<Vec<u8>>,
}

impl<W: Write> HandOverWriter<W> {
    pub(crate) fn begin(mut file: W, header: &Header, recipient: SealingPublicKey) -> io::Result<Self> {
        file.write_all(FORMAT)?;
        write_frame(&mut file, &header.to_bytes())?;
        let piece = Zeroizing::new(Vec::with_capacity(PIECE_BYTES));
        Ok(Self { file, recipient, transcript: Transcript::begin(header), piece })
    }

    /// Adds a record; they must ascend.
    pub(crate) fn push(&mut self, record: &Record) -> io::Result<()> {
        let bytes = Zeroizing::new(record.encode_length_delimited_to_vec());
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(PIECE_BYTES - self.piece.len()));
            // Never beyond its capacity, so that no copy is left behind.
            self.piece.extend_from_slice(now);
            rest = later;
            if self.piece.len() == PIECE_BYTES {
                self.seal_piece()?;
            }
        }
        Ok(())
    }

    /// Signs what was written.
    pub(crate) fn finish(mut self, signer: &AccountKey) -> io::Result<W> {
        if !self.piece.is_empty() {
            self.seal_piece()?;
        }
        let sealed_under = self.transcript.associated_data(true);
        let signature = signer.sign_digest(&self.transcript.writer.finish()).map_err(io::Error::other)?;
        let rng = &mut crate::keyholder::system_rng();
        let sealed = seal(&self.recipient, binding(&sealed_under), &signature.to_bytes(), rng);
        write_frame(&mut self.file, sealed.map_err(io::Error::other)?.as_bytes())?;
        self.file.flush()?;
        Ok(self.file)
    }

    fn seal_piece(&mut self) -> io::Result<()> {
        let sealed_under = self.transcript.associated_data(false);
        let rng = &mut crate::keyholder::system_rng();
        let sealed = seal(&self.recipient, binding(&sealed_under), &self.piece, rng).map_err(io::Error::other)?;
        write_frame(&mut self.file, sealed.as_bytes())?;
        self.transcript.take(&self.piece);
        zeroize::Zeroize::zeroize(&mut *self.piece);
        Ok(())
    }
}

fn write_frame(file: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(bytes)
}

/// Reads a hand-over. What it gives is trusted only after [`next`](Self::next) has said that it ends.
pub(crate) struct HandOverReader<R> {
    file: R,
    key: SealingPrivateKey,
    giver_signer: Address,
    transcript: Transcript,
    piece: Zeroizing<Vec<u8>>,
    /// How much of the piece was read.
    read: usize,
    last: Option<Record>,
}

impl<R: Read> HandOverReader<R> {
    /// Opens a file that must have this header, signed by `giver_signer`.
    pub(crate) fn open(
        mut file: R,
        expected: &Header,
        key: SealingPrivateKey,
        giver_signer: Address,
    ) -> Result<Self, SuccessionError> {
        let header = read_header(&mut file)?;
        if header != *expected {
            return Err(SuccessionError::OtherHeader {
                giver: header.giver.get(),
                successor: header.successor.get(),
                signer: header.successor_signer,
            });
        }
        let transcript = Transcript::begin(&header);
        Ok(Self { file, key, giver_signer, transcript, piece: Zeroizing::new(Vec::new()), read: 0, last: None })
    }

    /// The next record; `None` at the end, when the signature was seen.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, SuccessionError> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        while bytes.len() < length {
            if self.read == self.piece.len() && !self.next_piece()? {
                return Err(SuccessionError::Damaged("it ends within a record"));
            }
            let end = self.piece.len().min(self.read + length - bytes.len());
            bytes.extend_from_slice(&self.piece[self.read..end]);
            self.read = end;
        }
        let record = Record::decode(bytes.as_slice()).map_err(|_| SuccessionError::Damaged("a record"))?;
        Kind::try_from(record.kind).map_err(|_| SuccessionError::Damaged("a record of an unknown kind"))?;
        if self.last.as_ref().is_some_and(|last| last.place() >= record.place()) {
            return Err(SuccessionError::Damaged("records out of order"));
        }
        self.last = Some(Record::new(record.kind(), &record.key, &[]));
        Ok(Some(record))
    }

    /// Length of the next record; `None` at the end.
    fn length(&mut self) -> Result<Option<usize>, SuccessionError> {
        let mut varint = Vec::new();
        loop {
            if self.read == self.piece.len() && !self.next_piece()? {
                return if varint.is_empty() {
                    Ok(None)
                } else {
                    Err(SuccessionError::Damaged("it ends within a length"))
                };
            }
            let byte = self.piece[self.read];
            self.read += 1;
            varint.push(byte);
            if byte < 0x80 || varint.len() > 5 {
                break;
            }
        }
        match prost::decode_length_delimiter(varint.as_slice()) {
            Ok(length) if length <= RECORD_BYTES_MAX => Ok(Some(length)),
            _ => Err(SuccessionError::Damaged("the length of a record")),
        }
    }

    /// Opens the next piece; false when the signature came instead, and holds.
    fn next_piece(&mut self) -> Result<bool, SuccessionError> {
        let sealed = read_frame(&mut self.file, SEALED_BYTES_MAX)?;
        let sealed = SealedBox::parse(sealed).map_err(|_| SuccessionError::Damaged("a piece"))?;
        let open_as = |is_last| open(&self.key, binding(&self.transcript.associated_data(is_last)), &sealed);
        if let Ok(piece) = open_as(false) {
            if piece.is_empty() {
                return Err(SuccessionError::Damaged("an empty piece"));
            }
            self.transcript.take(&piece);
            self.piece = piece;
            self.read = 0;
            return Ok(true);
        }
        let signature = open_as(true).map_err(|_| SuccessionError::NotForThis)?;
        let transcript = std::mem::replace(&mut self.transcript.writer, Sha3Writer::new(DST_FILE));
        match recover(&transcript.finish(), &signature) {
            Ok(signer) if signer == self.giver_signer => {}
            _ => return Err(SuccessionError::Signature),
        }
        match self.file.read(&mut [0])? {
            0 => Ok(false),
            _ => Err(SuccessionError::Damaged("something after its end")),
        }
    }
}

/// Reads who hands over what to whom, which anybody can.
pub(crate) fn read_header(file: &mut impl Read) -> Result<Header, SuccessionError> {
    let mut format = [0; FORMAT.len()];
    file.read_exact(&mut format).map_err(|_| SuccessionError::NotAHandOver)?;
    if format != FORMAT {
        return Err(SuccessionError::NotAHandOver);
    }
    Header::parse(&read_frame(file, HEADER_BYTES_MAX)?).ok_or(SuccessionError::Damaged("the header"))
}

fn read_frame(file: &mut impl Read, max: usize) -> Result<Vec<u8>, SuccessionError> {
    let cut = |_| SuccessionError::Damaged("it is cut off");
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(cut)?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok().filter(|length| *length <= max);
    let mut bytes = vec![0; length.ok_or(SuccessionError::Damaged("the length of a piece"))?];
    file.read_exact(&mut bytes).map_err(cut)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
