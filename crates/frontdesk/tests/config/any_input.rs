//! Whatever stands in the file: no panic, and every error has a place.

use frontdesk::config::{Place, Severity};
use proptest::prelude::*;

use crate::world::Folder;

/// Values of every sort, right and wrong ones.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "\"[ -!#-\\[\\]-~äß€😀]{0,12}\"",
        "-?[0-9]{1,25}",
        "-?[0-9]{1,5}\\.[0-9]{1,5}",
        Just("true".to_owned()),
        Just("2026-01-05T10:00:00Z".to_owned()),
        Just("inf".to_owned()),
        "'(30 s|2 min|25 MB|http://[a-z]{0,5}|sqlite:[./a-z]{0,8}|agent|post|strict|openai)'",
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::btree_map("(env|file|credential|[a-z]{1,3})", inner, 0..3).prop_map(|table| {
                let pairs: Vec<String> = table.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
                format!("{{ {} }}", pairs.join(", "))
            }),
        ]
    })
}

fn table() -> impl Strategy<Value = String> {
    let names = "(server|store|agent|tokens|channels|tokens\\.[a-zA-Z]{1,3}|channels\\.[a-z]{1,3}|\"[a-z.\\[\\]0-9]{0,6}\"|[a-z]{1,6})";
    let keys = "(listen|public_url|url|durability|min_free|retention|user|password|ca|prefix|folder|protocol|secret|api_key|model|instructions|coalesce|fallback|timeout|history|token|scopes|channels|kind|deliver_url|retries|allowed|mode|\"[ -!#-\\[\\]-~]{0,6}\"|[a-z]{1,9})";
    let tables = (names, prop::collection::btree_map(keys, value(), 0..6));
    (any::<bool>(), tables).prop_map(|(many, (name, keys))| {
        let lines: Vec<String> = keys.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        if many { format!("[[{name}]]\n{}", lines.concat()) } else { format!("[{name}]\n{}", lines.concat()) }
    })
}

fn holds(toml: &str, vars: &[(&str, &str)]) -> Result<(), TestCaseError> {
    let lines = toml.split('\n').count();
    let folder = Folder::new(toml);
    let findings = match folder.load(vars) {
        Ok(config) => config.warnings,
        Err(refused) => {
            let text = refused.to_string();
            prop_assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text:?}");
            prop_assert!(
                refused.findings.iter().any(|one| one.severity == Severity::Error),
                "a refusal without a reason"
            );
            refused.findings
        }
    };
    for finding in findings {
        match (&finding.place, finding.severity) {
            (Place::Line { line, column }, _) => {
                prop_assert!((1..=lines).contains(line) && *column >= 1, "{finding:?}")
            }
            (Place::Variable(name), _) => {
                prop_assert!(vars.iter().any(|(var, _)| var.starts_with(name.trim_end_matches('*'))), "{finding:?}")
            }
            (Place::File, Severity::Warning) => {}
            (Place::File, Severity::Error) => prop_assert!(false, "an error without a place: {finding:?}"),
        }
        prop_assert!(!finding.what.is_empty() && !finding.mend.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_answered(text in "\\PC{0,80}|[\\[\\]{}=.,\"'#a-c0-1 \n\r\t]{0,80}") {
        holds(&text, &[])?;
    }

    #[test]
    fn any_configuration_is_answered_with_places(tables in prop::collection::vec(table(), 0..5)) {
        holds(&tables.concat(), &[])?;
    }

    #[test]
    fn any_override_is_answered_with_places(
        tables in prop::collection::vec(table(), 0..3),
        name in "FRONTDESK__(SERVER|STORE|AGENT|TOKENS|CHANNELS|[A-Z0-9_a.\\[\\]]{0,6})(__[A-Z0-9_]{0,4}){0,4}",
        value in "\\PC{0,12}",
    ) {
        holds(&tables.concat(), &[(&name, &value)])?;
    }
}
