package pool

import (
	"context"
	"errors"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameTrait is something in a name that servers differ in: they store it, refuse it, or silently store another name. The
// traits of ordinary names (ASCII letters, digits and most punctuation) are not asked about.
type nameTrait string

// The traits that are not single characters.
const (
	traitSpaceEnd nameTrait = "space at the end"
	traitDotEnd   nameTrait = "dot at the end"
	traitLetters  nameTrait = "letters beyond ASCII"
	traitMarks    nameTrait = "combining marks"
	traitPlanes   nameTrait = "characters beyond U+FFFF"
	traitBytes    nameTrait = "bytes that are not UTF-8"
)

// special are ASCII characters that file systems behind some servers do not have.
const special = `\:*?"<>|`

// usualTraits are those that `check --try` asks about; of the control characters only the commonest.
func usualTraits() []nameTrait {
	traits := []nameTrait{traitSpaceEnd, traitDotEnd, traitLetters, traitMarks, traitPlanes, traitBytes, characterTrait('\t')}
	for _, r := range special {
		traits = append(traits, characterTrait(r))
	}
	return traits
}

// characterTrait is the trait of having one character.
func characterTrait(r rune) nameTrait { return nameTrait(strconv.QuoteRuneToASCII(r)) }

// traitsOf gives what is out of the ordinary in the last element of a path, each trait once.
func traitsOf(base string) []nameTrait {
	var traits []nameTrait
	add := func(t nameTrait) {
		if !slices.Contains(traits, t) {
			traits = append(traits, t)
		}
	}
	for i, r := range base {
		switch {
		case r < ' ' || r == 0x7f || r < utf8.RuneSelf && strings.ContainsRune(special, r):
			add(characterTrait(r))
		case r < utf8.RuneSelf:
		case r == utf8.RuneError && !strings.HasPrefix(base[i:], string(utf8.RuneError)):
			add(traitBytes)
		case unicode.Is(unicode.Mn, r):
			add(traitMarks)
		case r > 0xffff:
			add(traitPlanes)
		default:
			add(traitLetters)
		}
	}
	switch {
	case strings.HasSuffix(base, " "):
		add(traitSpaceEnd)
	case strings.HasSuffix(base, "."):
		add(traitDotEnd)
	}
	return traits
}

// sample is a name that has the trait and no other.
func (t nameTrait) sample() string {
	switch t {
	case traitSpaceEnd:
		return "a "
	case traitDotEnd:
		return "a."
	case traitLetters:
		return "a\u00e9b"
	case traitMarks:
		return "ae\u0301b"
	case traitPlanes:
		return "a\U0001f600b"
	case traitBytes:
		return "a\xe9b"
	}
	r, _, _, err := strconv.UnquoteChar(strings.Trim(string(t), "'"), '\'')
	if err != nil {
		return "a"
	}
	return "a" + string(r) + "b"
}

// probing marks the context of a probe of names: what it makes is not to be asked about.
type probing struct{}

// KeepsName tells whether an object made at a path is stored under exactly that name: KindInvalidName if this server
// would store another one, or none. What is not known yet of the name's unusual characters is tried out on files of
// ours, in a folder of ours beside it, and remembered; ordinary names cost nothing. Where it cannot be tried out, and
// is not known to be otherwise, the name passes.
func (p *Pool) KeepsName(ctx context.Context, name string) error {
	unknown, err := p.nameKnown(name)
	if err != nil || len(unknown) == 0 || p.cfg.ReadOnly || ctx.Value(probing{}) != nil {
		return err
	}
	p.probing.Lock() // as in Can
	defer p.probing.Unlock()
	if unknown, err = p.nameKnown(name); err != nil || len(unknown) == 0 {
		return err
	}
	pr := &probe{p: p, name: path.Join(parentOf(name), probeName())}
	err = pr.names(ctx, unknown)
	switch {
	case err == nil:
		p.memory.save()
		_, err = p.nameKnown(name)
		return err
	case !refusedKind(err) && KindOf(err) != KindNotFound:
		return p.fail(ctx, "probe", parentOf(name), err)
	case p.server().pureFTPd && manglesName(path.Base(name)):
		return p.alteredName(name, "backslash, control character, or a space at the end")
	}
	return nil
}

// nameKnown gives the traits of a name of which nothing is known yet; an error, if one is known not to be kept.
func (p *Pool) nameKnown(name string) (unknown []nameTrait, err error) {
	for _, t := range traitsOf(path.Base(name)) {
		kept, known := p.memory.keeps(t)
		switch {
		case !known:
			unknown = append(unknown, t)
		case !kept:
			return nil, p.alteredName(name, string(t))
		}
	}
	return unknown, nil
}

func (p *Pool) alteredName(name, what string) error {
	return &Error{Kind: KindInvalidName, Path: name, Advice: "this server does not keep such names as they are (" + what + ")"}
}

// names stores a file for each trait in a folder of ours and looks under which names they are there.
func (pr *probe) names(ctx context.Context, traits []nameTrait) error {
	ctx = context.WithValue(ctx, probing{}, true)
	if err := pr.p.Mkdir(ctx, pr.name); err != nil {
		return err
	}
	defer pr.sweep(ctx)
	for _, t := range traits {
		err := pr.store(ctx, pr.name+"/"+t.sample(), UploadOptions{}, "")
		if !refusedKind(err) && KindOf(err) != KindNotFound {
			return err
		}
	}
	l, err := pr.p.listOnce(ctx, "probe", pr.name)
	if err != nil {
		return err
	}
	if l.Truncated {
		return errors.New("the listing of a folder of ours is not complete")
	}
	for _, t := range traits {
		_, kept := find(l, t.sample())
		pr.p.memory.setKeeps(t, kept)
		if !kept { // it may be there and not be shown
			_ = pr.p.Remove(ctx, pr.name+"/"+t.sample()) // sweep tells what is left
		}
	}
	return nil
}
