//! The files of an ordinary ceremony, made and read by snarkjs itself.
//!
//! `LOCUS_SNARKJS` names snarkjs's command line program (npm package in `interop/`).

use getrandom::{SysRng, rand_core::UnwrapErr};
use locus_commitment::{
    field::Fr,
    poseidon::{self, r1cs::hash},
    r1cs::{Builder, Linear},
};
use locus_proofs::{
    circom::{
        read_proof, read_zkey, write_proof, write_public, write_r1cs, write_verification_key, write_wtns, write_zkey,
    },
    groth16::{Circuit, ProvingKey, Shape, ToxicWaste, assign},
};
use std::{fs, path::PathBuf, process::Command};

const VARIABLE: &str = "LOCUS_SNARKJS";
const REQUIRED_VARIABLE: &str = "LOCUS_SNARKJS_REQUIRED";

/// Knows two numbers whose hash, and the hash plus a public number, are public.
struct Preimage {
    list: Vec<Fr>,
    number: Fr,
}

impl Preimage {
    fn new() -> Self {
        Self { list: (1..=2u64).map(Fr::from).collect(), number: Fr::from(1_000_000_007u64) }
    }
}

impl Circuit for Preimage {
    fn name(&self) -> String {
        "preimage".to_owned()
    }

    fn public_inputs(&self) -> Vec<Fr> {
        let digest = poseidon::hash(&self.list);
        vec![digest, self.number, digest + self.number]
    }

    fn synthesize(&self, builder: &mut Builder, inputs: &[Linear]) {
        builder.clause("preimage");
        let list: Vec<Linear> = self.list.iter().map(|element| builder.witness(*element)).collect();
        let digest = hash(builder, &list);
        builder.enforce_equal(&digest, &inputs[0]);
        builder.enforce_equal(&inputs[0].plus(&inputs[1]), &inputs[2]);
    }
}

/// A folder in which snarkjs runs.
struct Workshop {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Workshop {
    fn open() -> Option<Self> {
        let Some(program) = std::env::var_os(VARIABLE) else {
            assert!(
                std::env::var_os(REQUIRED_VARIABLE).is_none(),
                "{REQUIRED_VARIABLE} is set, but {VARIABLE} does not name snarkjs"
            );
            eprintln!("not compared with snarkjs: {VARIABLE} does not name it");
            return None;
        };
        Some(Self { program: program.into(), folder: tempfile::tempdir().expect("there is room for files") })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("files are written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("snarkjs wrote it")
    }

    fn succeeds(&self, line: &str) -> bool {
        let output = Command::new("node")
            .arg(&self.program)
            .args(line.split(' '))
            .current_dir(self.folder.path())
            .output()
            .unwrap_or_else(|error| panic!("node does not start: {error}"));
        if !output.status.success() {
            eprintln!("{line}: {}", String::from_utf8_lossy(&output.stdout));
        }
        output.status.success()
    }

    fn run(&self, line: &str) {
        assert!(self.succeeds(line), "snarkjs {line}");
    }

    /// snarkjs accepts our proof, and refuses it for another input.
    fn accepts(&self, key: &ProvingKey, circuit: &Preimage, verification_key: &str) {
        let proof = key.prove(circuit, &mut UnwrapErr(SysRng)).expect("it is true");
        let mut inputs = circuit.public_inputs();
        self.write("ours.json", write_proof(&proof));
        self.write("public.json", write_public(&inputs));
        self.run(&format!("groth16 verify {verification_key} public.json ours.json"));
        inputs[1] += Fr::from(1u64);
        self.write("changed.json", write_public(&inputs));
        assert!(!self.succeeds(&format!("groth16 verify {verification_key} changed.json ours.json")));
    }

    /// We accept a proof that snarkjs makes with a key, and refuse it for another input.
    fn is_accepted(&self, key: &ProvingKey, circuit: &Preimage, zkey: &str) {
        self.run(&format!("groth16 prove {zkey} witness.wtns theirs.json their_public.json"));
        let proof = read_proof(&String::from_utf8_lossy(&self.read("theirs.json"))).expect("it is a proof");
        let mut inputs = circuit.public_inputs();
        assert!(key.verifying_key.verify(&inputs, &proof));
        inputs[2] += Fr::from(1u64);
        assert!(!key.verifying_key.verify(&inputs, &proof));
        let theirs: Vec<String> = serde_json::from_slice(&self.read("their_public.json")).expect("it is a list");
        let ours: Vec<String> = circuit.public_inputs().iter().map(Fr::to_string).collect();
        assert_eq!(theirs, ours);
    }
}

#[test]
fn a_ceremony_with_snarkjs_makes_a_key_that_both_sides_prove_and_verify_with() {
    let Some(workshop) = Workshop::open() else { return };
    let circuit = Preimage::new();
    let shape = Shape::of(&circuit);
    assert!(shape.domain_size() <= 1 << 8);
    workshop.write("circuit.r1cs", write_r1cs(&shape));
    workshop.write("witness.wtns", write_wtns(&assign(&circuit)));

    workshop.run("powersoftau new bn128 8 first.ptau");
    workshop.run("powersoftau contribute first.ptau second.ptau --name=one -e=entropy");
    workshop.run("powersoftau prepare phase2 second.ptau final.ptau");
    workshop.run("groth16 setup circuit.r1cs final.ptau first.zkey");
    workshop.run("zkey contribute first.zkey final.zkey --name=two -e=entropy");
    workshop.run("zkey verify circuit.r1cs final.ptau final.zkey");
    workshop.run("zkey export verificationkey final.zkey verification_key.json");

    let bytes = workshop.read("final.zkey");
    let key = read_zkey(&bytes).unwrap();
    workshop.accepts(&key, &circuit, "verification_key.json");
    workshop.is_accepted(&key, &circuit, "final.zkey");
    workshop.write("ours_key.json", write_verification_key(&key.verifying_key));
    workshop.accepts(&key, &circuit, "ours_key.json");
    refuses_damage(&bytes);
}

/// A damaged key is refused or is another key, and never a panic.
fn refuses_damage(bytes: &[u8]) {
    assert!(read_zkey(&bytes[..bytes.len() / 2]).is_err());
    assert!(read_zkey(b"zkey").is_err() && read_zkey(&[]).is_err());
    for place in [0, 4, 12, 30, 60, 100, 140, 160, 300, bytes.len() / 2] {
        let mut bad = bytes.to_vec();
        bad[place] ^= 0x40;
        if let Ok(key) = read_zkey(&bad) {
            let proven = key.prove(&Preimage::new(), &mut UnwrapErr(SysRng));
            assert!(proven.is_err() || place == bytes.len() / 2, "byte {place}");
        }
    }
}

#[test]
fn snarkjs_proves_and_verifies_with_a_key_of_ours() {
    let Some(workshop) = Workshop::open() else { return };
    let circuit = Preimage::new();
    let shape = Shape::of(&circuit);
    let key = ProvingKey::setup(&shape, &ToxicWaste::development(&shape.name)).unwrap();
    let zkey = write_zkey(&key, &shape);
    assert_eq!(read_zkey(&zkey).unwrap().verifying_key, key.verifying_key);
    workshop.write("ours.zkey", zkey);
    workshop.write("witness.wtns", write_wtns(&assign(&circuit)));
    workshop.write("verification_key.json", write_verification_key(&key.verifying_key));
    workshop.accepts(&key, &circuit, "verification_key.json");
    workshop.is_accepted(&key, &circuit, "ours.zkey");
}
