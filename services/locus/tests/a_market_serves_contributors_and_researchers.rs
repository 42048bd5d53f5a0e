//! Everything a contributor and a researcher do with a market over TCP, with the commands that they
//! would type.

mod support;

use serde_json::json;
use std::fs;
use support::{Cohort, Market, User, run, table, text};

/// A market on which a biobank has put a small cohort on offer.
struct Scene {
    dir: tempfile::TempDir,
    market: Market,
    biobank: User,
    researcher: User,
    cohort: Cohort,
    panel: String,
}

const PEOPLE: usize = 1_003;
const VARIANTS: usize = 30;

fn scene() -> Scene {
    let dir = tempfile::tempdir().expect("a folder");
    let biobank = User::new(&dir.path().join("biobank"), &["--accreditor"]);
    let researcher = User::new(&dir.path().join("researcher"), &[]);
    let listed = format!("{}=Biobank", biobank.accreditor());
    let market = Market::up(&dir.path().join("market"), &["--accreditor", &listed]);
    let cohort = Cohort::write(&dir.path().join("genomes"), PEOPLE, VARIANTS);
    let panel = biobank.path("p.panel");
    biobank.does(
        &market,
        &["panel", "build", "--name", "p", "--assembly", "GRCh38", "--plink", cohort.prefix(), "--out", &panel],
    );
    let offered = ["--price", "0.5", "--terms", "GRU", "--tier", "open,exact"];
    let enroll = [&["enroll", "--plink", cohort.prefix(), "--panel", &panel, "--biobank"], &offered[..]].concat();
    let enrolled = biobank.does(&market, &enroll);
    assert_eq!(enrolled["registrations"][0]["dataset_count"], PEOPLE);
    assert_eq!(enrolled["report"]["variants_matched"], VARIANTS);
    Scene { dir, market, biobank, researcher, cohort, panel }
}

#[test]
fn attributes_of_enrolled_people_are_added_and_their_schema_is_shown_to_everyone() {
    let Scene { dir: _dir, market, biobank, researcher, .. } = scene();
    assert_eq!(researcher.does(&market, &["attributes", "schemas"]), json!([]));
    let (schema, people) = (biobank.path("schema.json"), biobank.path("people.tsv"));
    let document = r#"{"name": "plain", "version": "1", "attributes": [{"kind": "flag", "name": "smoker"},
        {"kind": "bands", "name": "age", "edges": ["18", "65"], "whole": true}]}"#;
    fs::write(&schema, document).expect("written");
    let rows =
        (0..PEOPLE - 3).map(|person| format!("P{person}\t{}\t{}\tblue\n", person % 90, ["no", "yes"][person % 2]));
    fs::write(&people, format!("who\tage\tsmoker\teyes\n{}X1\t7\tno\tred\n", rows.collect::<String>()))
        .expect("written");

    let add = ["attributes", "add", "--from", &people, "--schema", &schema];
    let added = biobank.does(&market, &add);
    assert_eq!(added["registrations"][0]["dataset_count"], PEOPLE);
    assert_eq!(added["registrations"][0]["matched"], PEOPLE - 3);
    assert_eq!(added["report"]["people"], PEOPLE - 2);
    assert_eq!(added["report"]["dropped"]["not-mapped"]["examples"], json!(["eyes"]));
    assert_eq!(biobank.does(&market, &add), added, "the same again changes nothing");

    let digest = added["schema"].as_str().expect("a digest");
    let listed = researcher.does(&market, &["attributes", "schemas"]);
    assert_eq!(listed, json!([{ "digest": digest, "name": "plain", "version": "1", "registrations": [1] }]));
    let copy = researcher.path("copy.json");
    let shown = researcher.does(&market, &["attributes", "schema", digest, "--out", &copy]);
    assert_eq!((&shown["attribute_count"], &shown["bit_count"]), (&json!(2), &json!(7)));
    // A digest is as good as the file, and the copy is the same schema.
    let later = ["attributes", "add", "--from", &people, "--schema", digest, "--registration", "1"];
    assert_eq!(biobank.does(&market, &later)["registrations"], added["registrations"]);
    assert_eq!(biobank.does(&market, &["attributes", "schema", &copy])["digest"], digest);

    let foreign = researcher.fails(&market, &add, 2);
    assert!(foreign.contains("names that they had"), "{foreign}");
    let unnamed = biobank.path("people.dat");
    fs::copy(&people, &unnamed).expect("copied");
    let format = biobank.fails(&market, &["attributes", "add", "--from", &unnamed, "--schema", &schema], 2);
    assert!(format.contains("--format"), "{format}");
    let nothing = biobank.fails(&market, &["attributes", "add", "--from", &people, "--schema", "plain"], 2);
    assert!(nothing.contains("attributes schemas"), "{nothing}");
}

#[test]
fn a_cohort_is_enrolled_bought_paid_withdrawn_and_erased() {
    let Scene { dir, market, biobank, researcher, cohort, panel } = scene();

    let offers = researcher.does(&market, &["offers", "--panel", "p"]);
    assert_eq!(offers[0]["dataset_count"], PEOPLE);
    assert_eq!(offers[0]["price_counts"], "0.5");
    assert_eq!(offers[0]["tiers"], json!(["open", "exact"]));
    assert_eq!(offers[0]["accreditor"].as_str(), Some(biobank.accreditor().as_str()));

    let price = "501.5";
    let exact = ["--panel", "p", "--purpose", "GRU", "--tier", "exact"];
    let quote = researcher.does(&market, &[&["quote"], &exact[..]].concat());
    assert_eq!(quote["cohort_size"], PEOPLE);
    assert_eq!(quote["price"], price);
    assert_eq!(quote["differentially_private"], false);

    // Without money nothing is bought, and the reason says so.
    let out = researcher.path("exact.tsv");
    let buy = [&["query", "counts"], &exact[..], &["--max-price", "600", "--out", &out]].concat();
    let poor = researcher.fails(&market, &buy, 1);
    assert!(poor.contains("holds 0 tokens") && poor.contains("locus fund"), "{poor}");
    researcher.does(&market, &["fund", "2000"]);
    // A limit below the price is refused before anything is paid.
    let low = [&["query", "counts"], &exact[..], &["--max-price", "500", "--out", &out]].concat();
    let refused = researcher.fails(&market, &low, 1);
    assert!(refused.contains("501.5") && refused.contains("nothing was paid"), "{refused}");

    let bought = researcher.does(&market, &buy);
    assert_eq!(bought["price"], price);
    assert_eq!(bought["signed_by"], json!([1, 2, 3]));
    let rows = table(&out);
    let found: Vec<(i64, i64)> = rows.iter().map(|(_, het, hom_alt)| (*het, *hom_alt)).collect();
    assert_eq!(found, cohort.counts);

    // The answer checks again without any market, with the table and against another.
    let answer = researcher.path("exact.answer");
    let verified = researcher.alone(&["verify", "answer", &answer, "--table", &out]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    let other = fs::read_to_string(&out).expect("a table").replacen("\t0\t", "\t1\t", 1);
    fs::write(researcher.path("other.tsv"), other).expect("written");
    let differs = researcher.alone(&["verify", "answer", &answer, "--table", &researcher.path("other.tsv")]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(text(&differs.stderr).contains("line 2"), "{}", text(&differs.stderr));
    let mut damaged = fs::read(&answer).expect("an answer");
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(researcher.path("damaged.answer"), damaged).expect("written");
    assert_eq!(researcher.alone(&["verify", "answer", &researcher.path("damaged.answer")]).status.code(), Some(1));

    // A noisy answer names its noise; the same order fetched again is the same table.
    let noisy = researcher.path("open.tsv");
    let open = [
        "--panel",
        &panel,
        "--variants",
        "1:1000:A:G,1:5000:A:G",
        "--purpose",
        "GRU",
        "--tier",
        "open",
        "--rho",
        "0.01",
    ];
    let bought =
        researcher.does(&market, &[&["query", "counts"], &open[..], &["--max-price", price, "--out", &noisy]].concat());
    let first = fs::read_to_string(&noisy).expect("a table");
    assert!(first.lines().next().is_some_and(|columns| columns.ends_with("\taf\tse\trho")), "{first}");
    assert_eq!(first.lines().count(), 3);
    let order = bought["order"].as_str().expect("an order");
    let again = researcher.path("again.tsv");
    researcher.does(&market, &["query", "fetch", order, "--panel", "p", "--out", &again]);
    assert_eq!(fs::read_to_string(&again).expect("a table"), first);
    researcher.fails(&market, &["refund", order], 1);
    let balance = researcher.does(&market, &["balance"]);
    assert_eq!(balance["balance"], "997");

    let statement = biobank.does(&market, &["statement", "--registration", "1", "--sample", "P7"]);
    assert_eq!(statement["ordinal"], 7);
    assert_eq!(statement["uses"].as_array().map(Vec::len), Some(2));
    assert_eq!(statement["uses"][1]["researcher"].as_str(), Some(researcher.account().as_str()));
    assert_eq!(statement["differences"], json!([]));
    // Someone else's statement is refused.
    let foreign = researcher.fails(&market, &["statement", "--registration", "1"], 1);
    assert!(foreign.contains("keyholder"), "{foreign}");

    assert_eq!(biobank.does(&market, &["claim"])["paid"], "1003");
    assert_eq!(biobank.does(&market, &["claim"])["paid"], "0");

    // Several datasets are never erased by leaving them out.
    let vague = biobank.fails(&market, &["erase", "--registration", "1"], 2);
    assert!(vague.contains("--all"), "{vague}");
    let erased = biobank.does(&market, &["erase", "--registration", "1", "--sample", "P7"]);
    assert_eq!(erased["ordinals"], json!([7]));
    assert_eq!(erased["bodies_removed"], 1);
    assert_eq!(erased["receipts_of_keyholders"], json!([1, 2, 3]));
    let fewer = researcher.does(&market, &[&["quote"], &open[..]].concat());
    assert_eq!(fewer["cohort_size"], PEOPLE - 1);

    for command in ["withdraw", "revoke", "erase"] {
        let mistyped = biobank.fails(&market, &[command, "--registration", "99"], 1);
        assert!(mistyped.contains("no registration 99"), "{command}: {mistyped}");
    }
    let recorded = || biobank.does(&market, &["export"])["enrolments"][0].clone();
    assert!(recorded()["offer_nonce"].is_u64());
    biobank.does(&market, &["withdraw", "--registration", "1"]);
    assert_eq!(recorded()["offer_nonce"], json!(null));
    assert_eq!(researcher.does(&market, &["offers"]), json!([]));
    let nobody = researcher.fails(&market, &[&["quote"], &open[..]].concat(), 1);
    assert!(nobody.contains("offer"), "{nobody}");
    let back = ["offer", "--registration", "1", "--price", "0.25", "--terms", "GRU", "--tier", "open"];
    biobank.does(&market, &back);
    assert_eq!(researcher.does(&market, &[&["quote"], &open[..]].concat())["price"], "250.5");

    biobank.does(&market, &["revoke", "--registration", "1", "--ordinal", "8"]);

    let recorded = recorded();
    assert_eq!(recorded["datasets"].as_array().map(Vec::len), Some(PEOPLE));
    assert!(recorded["offer_nonce"].is_u64(), "{recorded:#}");
    assert_eq!(recorded["revoked"], json!([7, 8]));
    assert_eq!(market.terminate(), Some(0));
    drop(dir);
}

#[test]
fn a_person_enrols_from_a_vcf_and_a_bad_file_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let person = User::new(&dir.path().join("person"), &[]);
    let market = Market::up(&dir.path().join("market"), &[]);
    fs::write(person.path("sites.txt"), "1:1000:A:G\n1:2000:C:T\n2:3000:G:A\n").expect("written");
    let (sites, panel) = (person.path("sites.txt"), person.path("p.panel"));
    person
        .does(&market, &["panel", "build", "--name", "p", "--assembly", "GRCh37", "--sites", &sites, "--out", &panel]);
    let head = "##fileformat=VCFv4.3\n##reference=GRCh37\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tME\n";
    let record = |chrom: &str, position: u32, alleles: &str, genotype: &str| {
        format!("{chrom}\t{position}\t.\t{alleles}\t.\tPASS\t.\tGT\t{genotype}\n")
    };
    let terms = ["--panel", &panel, "--price", "2", "--terms", "GRU", "--tier", "open"];
    let enroll = |file: &str| [vec!["enroll", "--vcf"], vec![file], terms.to_vec()].concat().join(" ");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();

    let broken = person.path("broken.vcf");
    fs::write(&broken, format!("{head}1\t1000\tonly three\n")).expect("written");
    let line = words(&enroll(&broken));
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let said = person.fails(&market, &line, 1);
    assert!(said.contains("broken.vcf") && said.contains("line 4"), "{said}");
    let wrong = person.path("wrong.vcf");
    fs::write(&wrong, head.replace("GRCh37", "GRCh38") + &record("1", 1000, "A\tG", "0/1")).expect("written");
    let line = words(&enroll(&wrong));
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let said = person.fails(&market, &line, 1);
    assert!(said.contains("GRCh38"), "{said}");
    assert_eq!(person.does(&market, &["offers"]), json!([]));

    let good = person.path("me.vcf");
    let records = record("chr1", 1000, "A\tG", "0/1") + &record("chr2", 3000, "G\tA", "1/1");
    fs::write(&good, head.to_owned() + &records).expect("written");
    let line = words(&enroll(&good));
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let enrolled = person.does(&market, &line);
    assert_eq!(enrolled["report"]["variants_matched"], 2);
    assert_eq!(enrolled["report"]["missing_calls"], 1);
    assert_eq!(enrolled["registrations"][0]["resumed"], false);
    // The same command again changes nothing.
    let again = person.does(&market, &line);
    assert_eq!(again["registrations"][0]["registration"], 1);
    assert_eq!(again["registrations"][0]["resumed"], true);
    let statement = person.does(&market, &["statement", "--registration", "1"]);
    assert_eq!(statement["uses"], json!([]));
    // One person is no cohort.
    let alone = ["quote", "--panel", "p", "--purpose", "GRU", "--tier", "open", "--rho", "0.01"];
    let said = person.fails(&market, &alone, 1);
    assert!(said.contains("100"), "{said}");
    a_person_shows_one_fact(&market, &person, &good, &panel);
    let erased = person.does(&market, &["erase", "--registration", "1"]);
    assert_eq!(erased["bodies_removed"], 2, "one body for calls and one for missing calls");
}

/// A heterozygous, a homozygous and a missing call, shown to one verifier.
fn a_person_shows_one_fact(market: &Market, person: &User, genome: &str, panel: &str) {
    let nonce = "ab".repeat(32);
    let out = person.path("shown.json");
    let show = |claims: &[&str]| {
        let fixed = ["disclose", "--registration", "1", "--vcf", genome, "--panel", panel, "--out", &out];
        let purpose = ["--verifier", "clinic", "--purpose", "a trial", "--nonce", &nonce, "--show"];
        [&fixed[..], &purpose[..], claims].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    fn borrowed(words: &[String]) -> Vec<&str> {
        words.iter().map(String::as_str).collect()
    }
    for untrue in
        ["1:1000:A:G=lacks", "1:1000:A:G=hom-alt", "2:3000:G:A=lacks", "1:2000:C:T=carries", "1:2000:C:T=lacks"]
    {
        let said = person.fails(market, &borrowed(&show(&[untrue])), 1);
        assert!(said.contains("not true"), "{untrue}: {said}");
    }
    person.does(market, &borrowed(&show(&["1:1000:A:G=carries", "2:3000:G:A=hom-alt"])));
    let check = |verifier: &str, nonce: &str| {
        ["verify", "disclosure", &out, "--verifier", verifier, "--nonce", nonce].map(str::to_owned).to_vec()
    };
    let shown = person.does(market, &borrowed(&check("clinic", &nonce)));
    assert_eq!(shown["verified"], true);
    assert_eq!(shown["claims"][1], json!({ "variant": "2:3000:G:A", "genotype": "hom-alt" }));
    let said = person.fails(market, &borrowed(&check("insurer", &nonce)), 1);
    assert!(said.contains("another verifier"), "{said}");
    let said = person.fails(market, &borrowed(&check("clinic", &"cd".repeat(32))), 1);
    assert!(said.contains("another nonce"), "{said}");
    // Another variant, another genotype or another purpose than what was proven.
    let honest = fs::read_to_string(&out).expect("written");
    for (from, to) in [("1:1000:A:G", "1:2000:C:T"), ("\"carries\"", "\"hom-alt\""), ("a trial", "insurance")] {
        assert!(honest.contains(from), "{from} is not in {honest}");
        fs::write(&out, honest.replacen(from, to, 1)).expect("written");
        person.fails(market, &borrowed(&check("clinic", &nonce)), 1);
    }
    fs::write(&out, &honest).expect("written");
    person.does(market, &borrowed(&check("clinic", &nonce)));
}

#[test]
fn keys_of_proofs_are_made_listed_and_checked() {
    let dir = tempfile::tempdir().expect("a folder");
    let keys = dir.path().join("keys");
    let keys = keys.to_str().expect("utf-8");
    let told = |words: &[&str]| {
        let output = run(&[&["--json", "proofs"], words].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(told(&["show", keys]), json!([]));
    let made = told(&["development", keys, "--circuit", "disclosure-4080"]);
    assert_eq!(made[0]["origin"], "development");
    assert_eq!(told(&["show", keys]), made);
    let unknown = run(&["proofs", "development", keys, "--circuit", "disclosure-1"]);
    assert!(text(&unknown.stderr).contains("disclosure-4080"), "{}", text(&unknown.stderr));
    // A file that is not whole is named.
    let file = dir.path().join("keys/disclosure-4080.vk");
    let honest = fs::read(&file).expect("there");
    fs::write(&file, &honest[..honest.len() - 1]).expect("written");
    let damaged = run(&["proofs", "show", keys]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stderr).contains("disclosure-4080.vk"), "{}", text(&damaged.stderr));
}

#[test]
fn errors_say_what_to_do_next() {
    let dir = tempfile::tempdir().expect("a folder");
    let home = dir.path().to_str().expect("utf-8");
    let no_keys = run(&["--data-dir", home, "keys", "show"]);
    assert_eq!(no_keys.status.code(), Some(1));
    assert!(text(&no_keys.stderr).contains("locus keys new"), "{}", text(&no_keys.stderr));
    let user = User::new(&dir.path().join("user"), &[]);
    let twice = user.alone(&["keys", "new"]);
    assert_eq!(twice.status.code(), Some(1), "keys are never written over");
    // Port 1 of this machine serves nothing.
    let unreachable = user.alone(&["offers", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(unreachable.status.code(), Some(1));
    let said: serde_json::Value = serde_json::from_slice(&unreachable.stderr).expect("errors are JSON, too");
    assert!(said["error"].as_str().is_some_and(|error| error.contains("is it running")), "{said}");
    assert_eq!(run(&["quote"]).status.code(), Some(2));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_market_folder_serves_one_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let market = Market::up(&dir.path().join("market"), &[]);
    let folder = dir.path().join("market");
    let second = run(&["up", "--listen", "127.0.0.1:0", "--data-dir", folder.to_str().expect("utf-8")]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("in use by another process"), "{}", text(&second.stderr));
    let registry = market.registry.clone();
    assert_eq!(market.terminate(), Some(0));
    let market = Market::up(&folder, &[]);
    assert_eq!(market.registry, registry, "the market goes on");
}
