//! Who has used a dataset: the keyholders' books, compared with each other.

use crate::{
    error::ClientError,
    keystore::Keystore,
    network::Network,
    request::fresh_terms,
    service::{CallError, Services, name, retrying},
};
use locus_commitment::Address;
use locus_genomics::Purpose;
use locus_ledger::{Amount, OrderId, RegistrationId, statement_request_hash};
use locus_privacy::{Rho, Tier};
use locus_sharing::KeyholderIndex;
use locus_wire::{
    convert::{FieldError, field, parse_purpose, parse_tier},
    pb::keyholder as pb,
};
use std::{collections::BTreeMap, fmt};

/// Most uses of a statement.
const USES_MAX: usize = 1 << 20;

/// One use of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatasetUse {
    /// The order that was answered.
    pub order: OrderId,
    /// Who asked.
    pub researcher: Address,
    /// What for.
    pub purpose: Purpose,
    /// In which tier.
    pub tier: Tier,
    /// When it was answered.
    pub time_unix_s: u64,
    /// What the dataset earned.
    pub price: Amount,
    /// Privacy loss charged; zero when the same answer had been charged before.
    pub rho: Rho,
    /// Variants asked about.
    pub variant_count: u32,
}

/// Privacy budget of the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetState {
    /// Spent in the last year.
    pub spent_year: Rho,
    /// Ever spent.
    pub spent_lifetime: Rho,
    /// Left this year.
    pub left_year: Rho,
    /// Left for ever.
    pub left_lifetime: Rho,
}

/// What one keyholder says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Book {
    uses: Vec<DatasetUse>,
    budget: BudgetState,
}

/// Something that the keyholders do not agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Uses that some keyholders have and others do not, or have otherwise.
    Uses {
        /// The order.
        order: OrderId,
        /// Keyholders that report it the same way as the statement.
        same: Vec<KeyholderIndex>,
    },
    /// The budget.
    Budget {
        /// What each keyholder says.
        states: Vec<(KeyholderIndex, BudgetState)>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uses { order, same } => {
                let names: Vec<String> = same.iter().map(KeyholderIndex::to_string).collect();
                write!(f, "only keyholders {} report the use by order {order} in this way", names.join(", "))
            }
            Self::Budget { states } => {
                f.write_str("the keyholders report different privacy budgets:")?;
                states.iter().try_for_each(|(keyholder, state)| {
                    write!(f, " keyholder {keyholder} {} spent and {} left;", state.spent_lifetime, state.left_lifetime)
                })
            }
        }
    }
}

/// The uses of a dataset, as all keyholders together report them.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The registration.
    pub registration: RegistrationId,
    /// The dataset.
    pub ordinal: u32,
    /// Every use that any keyholder reports, oldest first.
    pub uses: Vec<DatasetUse>,
    /// The strictest budget that any keyholder reports.
    pub budget: BudgetState,
    /// What they do not agree on; empty when all is well.
    pub differences: Vec<Difference>,
    /// Keyholders that gave no statement, and why.
    pub unreachable: Vec<(KeyholderIndex, String)>,
}

/// Asks all three keyholders for the uses of a dataset and compares their books.
///
/// # Errors
/// [`ClientError::NoStatement`] when no keyholder answers.
pub async fn statement(
    services: &Services,
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
    ordinal: u32,
    now_unix_s: u64,
) -> Result<Statement, ClientError> {
    let mut books = Vec::new();
    let mut unreachable: Vec<(KeyholderIndex, String)> = Vec::new();
    let mut first_error: Option<CallError> = None;
    for keyholder in KeyholderIndex::ALL {
        let service = name::KEYHOLDERS[keyholder.position()];
        // Every try is a request of its own: each is taken once.
        let sign = || signed_request(network, keystore, registration, ordinal, keyholder, now_unix_s);
        sign()?;
        let call = || {
            let mut client = services.keyholders[keyholder.position()].clone();
            let request = sign();
            async move {
                let request = request.map_err(|error| tonic::Status::internal(error.to_string()))?;
                client.get_statement(request).await
            }
        };
        match retrying(service, call).await {
            Ok(message) => {
                let book = parse_book(&message).map_err(|error| ClientError::Malformed { service, error })?;
                books.push((keyholder, book));
            }
            Err(error) => {
                unreachable.push((keyholder, error.to_string()));
                first_error.get_or_insert(error);
            }
        }
    }
    match (compare(&books), first_error) {
        (Some((uses, budget, differences)), _) => {
            Ok(Statement { registration, ordinal, uses, budget, differences, unreachable })
        }
        (None, Some(first)) => Err(ClientError::NoStatement { first }),
        (None, None) => Err(ClientError::Interrupted),
    }
}

fn signed_request(
    network: &Network,
    keystore: &Keystore,
    registration: RegistrationId,
    ordinal: u32,
    keyholder: KeyholderIndex,
    now_unix_s: u64,
) -> Result<pb::GetStatementRequest, ClientError> {
    let terms = fresh_terms(now_unix_s)?;
    let digest = statement_request_hash(&network.id(), registration, ordinal, keyholder.get(), &terms);
    Ok(pb::GetStatementRequest {
        registration_id: registration.0,
        ordinal,
        deadline_unix_s: terms.deadline_unix_s,
        signature: keystore.sign(&digest)?,
        nonce: terms.nonce.to_vec().into(),
    })
}

fn parse_book(message: &pb::GetStatementResponse) -> Result<Book, FieldError> {
    if message.uses.len() > USES_MAX {
        let kind = locus_wire::convert::FieldErrorKind::TooLong { max: USES_MAX, got: message.uses.len() };
        return Err(FieldError::new("uses", kind));
    }
    Ok(Book {
        uses: message.uses.iter().map(parse_use).collect::<Result<_, _>>()?,
        budget: BudgetState {
            spent_year: Rho::from_nano(message.rho_spent_year_nano),
            spent_lifetime: Rho::from_nano(message.rho_spent_lifetime_nano),
            left_year: Rho::from_nano(message.rho_left_year_nano),
            left_lifetime: Rho::from_nano(message.rho_left_lifetime_nano),
        },
    })
}

fn parse_use(message: &pb::Use) -> Result<DatasetUse, FieldError> {
    Ok(DatasetUse {
        order: OrderId(field::digest("use.order_id", &message.order_id)?),
        researcher: field::address("use.researcher", &message.researcher)?,
        purpose: parse_purpose("use.purpose", message.purpose)?,
        tier: parse_tier("use.tier", message.tier)?,
        time_unix_s: message.time_unix_s,
        price: field::amount("use.price", &message.price)?,
        rho: Rho::from_nano(message.rho_nano),
        variant_count: message.variant_count,
    })
}

/// Keyholders charge at their own clocks, so equal uses may differ in their time.
fn is_same_use(left: &DatasetUse, right: &DatasetUse) -> bool {
    DatasetUse { time_unix_s: 0, ..*left } == DatasetUse { time_unix_s: 0, ..*right }
}

/// The union of all books and where they differ; `None` without any book.
fn compare(books: &[(KeyholderIndex, Book)]) -> Option<(Vec<DatasetUse>, BudgetState, Vec<Difference>)> {
    let budgets = books.iter().map(|(_, book)| book.budget);
    let strictest = budgets.clone().reduce(|one, other| BudgetState {
        spent_year: one.spent_year.max(other.spent_year),
        spent_lifetime: one.spent_lifetime.max(other.spent_lifetime),
        left_year: one.left_year.min(other.left_year),
        left_lifetime: one.left_lifetime.min(other.left_lifetime),
    })?;
    let mut union: BTreeMap<OrderId, DatasetUse> = BTreeMap::new();
    for used in books.iter().flat_map(|(_, book)| &book.uses) {
        union.entry(used.order).or_insert(*used);
    }
    let mut differences = Vec::new();
    for used in union.values() {
        let reports = |book: &Book| book.uses.iter().filter(|other| is_same_use(used, other)).count() == 1;
        let same: Vec<KeyholderIndex> =
            books.iter().filter(|(_, book)| reports(book)).map(|(keyholder, _)| *keyholder).collect();
        if same.len() < books.len() {
            differences.push(Difference::Uses { order: used.order, same });
        }
    }
    if budgets.clone().any(|budget| budget != strictest) {
        let states = books.iter().map(|(keyholder, book)| (*keyholder, book.budget)).collect();
        differences.push(Difference::Budget { states });
    }
    let mut uses: Vec<DatasetUse> = union.into_values().collect();
    uses.sort_by_key(|used| (used.time_unix_s, used.order));
    Some((uses, strictest, differences))
}

#[cfg(test)]
mod tests {
    use super::*;
    use locus_commitment::Digest32;
    use locus_genomics::{Declarations, PurposeCode};

    fn used(order: u8, time_unix_s: u64) -> DatasetUse {
        DatasetUse {
            order: OrderId(Digest32([order; 32])),
            researcher: Address([1; 20]),
            purpose: Purpose { code: PurposeCode::Biomedical, declarations: Declarations::NONE },
            tier: Tier::Open,
            time_unix_s,
            price: Amount(5),
            rho: Rho::from_nano(7),
            variant_count: 100,
        }
    }

    fn budget(spent: u64) -> BudgetState {
        let (spent, left) = (Rho::from_nano(spent), Rho::from_nano(100 - spent));
        BudgetState { spent_year: spent, spent_lifetime: spent, left_year: left, left_lifetime: left }
    }

    fn books(books: [(Vec<DatasetUse>, u64); 3]) -> Vec<(KeyholderIndex, Book)> {
        let book = |(uses, spent)| Book { uses, budget: budget(spent) };
        KeyholderIndex::ALL.into_iter().zip(books.map(book)).collect()
    }

    #[test]
    fn books_that_agree_give_one_statement_in_order_of_time() {
        let agreed = [(); 3].map(|()| (vec![used(2, 20), used(1, 10)], 7));
        let (uses, spent, differences) = compare(&books(agreed)).expect("books");
        assert_eq!(uses.iter().map(|used| used.time_unix_s).collect::<Vec<_>>(), [10, 20]);
        assert_eq!((spent, differences), (budget(7), vec![]));
    }

    #[test]
    fn clocks_may_differ() {
        let (_, _, differences) =
            compare(&books([(vec![used(1, 10)], 7), (vec![used(1, 12)], 7), (vec![used(1, 9)], 7)])).expect("books");
        assert_eq!(differences, []);
    }

    #[test]
    fn a_use_that_one_keyholder_hides_or_embellishes_is_reported() {
        let cheaper = DatasetUse { price: Amount(4), ..used(2, 20) };
        let given =
            books([(vec![used(1, 10), used(2, 20)], 7), (vec![used(2, 20)], 7), (vec![used(1, 10), cheaper], 7)]);
        let (uses, _, differences) = compare(&given).expect("books");
        assert_eq!(uses.len(), 2);
        let [first, second, third] = KeyholderIndex::ALL;
        assert_eq!(
            differences,
            [
                Difference::Uses { order: OrderId(Digest32([1; 32])), same: vec![first, third] },
                Difference::Uses { order: OrderId(Digest32([2; 32])), same: vec![first, second] },
            ]
        );
        assert!(differences[0].to_string().starts_with("only keyholders 1, 3"));
    }

    #[test]
    fn the_strictest_budget_counts_and_a_smaller_one_is_reported() {
        let (_, strictest, differences) = compare(&books([(vec![], 7), (vec![], 9), (vec![], 7)])).expect("books");
        assert_eq!(strictest, budget(9));
        assert!(matches!(differences.as_slice(), [Difference::Budget { states }] if states.len() == 3));
        assert!(compare(&[]).is_none());
    }
}
