use locus_genomics::*; use locus_intake::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let asm: Assembly = a[1].parse().unwrap();
    let src = match a[2].as_str() { "vcf" => CohortSource::Vcf(a[3..].iter().map(Into::into).collect()), "plink" => CohortSource::Plink(PlinkFiles::of_prefix(a[3].as_ref())), _ => panic!() };
    let req = PanelRequest { name: "x".into(), assembly: asm, complete_calls: CompleteCalls::Declared(false), reference: None };
    let t = std::time::Instant::now();
    let (panel, _) = build_panel(&PanelSource::Cohort(src.clone()), &req, "/tmp".as_ref(), &mut |_| ()).unwrap();
    println!("build {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let c = read_cohort(&src, &panel, &IntakeOptions::default(), "/tmp".as_ref(), &mut |_| ()).unwrap();
    println!("read {:?} {}", t.elapsed(), panel.variant_count());
    let mut h = 0u64; for i in 0..panel.variant_count() { let x = c.spool.counts(VariantIndex(i)).unwrap(); h = h.wrapping_mul(31).wrapping_add(x.het()*7+x.hom_alt()*3+x.missing()); }
    println!("hash {h}");
    let t = std::time::Instant::now(); let mut n=0usize;
    for b in 0..c.spool.block_count() { for s in c.spool.strips() { let s = c.spool.read_strip(PanelBlockIndex(b), s).unwrap(); n += s.people().len(); } }
    println!("transpose {:?} for {n} person-blocks", t.elapsed());
    let st = std::fs::read_to_string("/proc/self/status").unwrap(); println!("{}", st.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
