//! What must not compile: each case is a program that breaks one rule of who owns bytes.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}
