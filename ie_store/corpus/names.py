"""The built-in lists of names behind ``icl:country``, ``icl:animal`` and ``icl:color``, common names first."""

_COUNTRIES = """
France, Germany, Japan, China, India, Brazil, Canada, Mexico, Italy, Spain, Russia, Egypt, Australia, Greece, Turkey, Sweden,
Norway, Poland, Portugal, Argentina, Chile, Peru, Cuba, Kenya, Nigeria, Ireland, Iran, Iraq, Israel, Denmark, Finland, Austria,
Belgium, Netherlands, Switzerland, Hungary, Romania, Ukraine, Thailand, Vietnam, Indonesia, Malaysia, Philippines, Singapore,
Pakistan, Bangladesh, Nepal, Afghanistan, Syria, Lebanon, Jordan, Colombia, Venezuela, Ecuador, Bolivia, Uruguay, Paraguay,
Morocco, Algeria, Tunisia, Libya, Sudan, Ethiopia, Ghana, Uganda, Tanzania, Rwanda, Somalia, Zimbabwe, Zambia, Angola, Senegal,
Mali, Niger, Chad, Congo, Cameroon, Gabon, Benin, Togo, Liberia, Guinea, Gambia, Namibia, Botswana, Mozambique, Malawi,
Madagascar, Mauritius, Lesotho, Eritrea, Djibouti, Burundi, Iceland, Luxembourg, Malta, Cyprus, Croatia, Serbia, Slovenia,
Slovakia, Bulgaria, Albania, Macedonia, Montenegro, Bosnia, Kosovo, Moldova, Belarus, Lithuania, Latvia, Estonia, Georgia,
Armenia, Azerbaijan, Kazakhstan, Uzbekistan, Turkmenistan, Kyrgyzstan, Tajikistan, Mongolia, Korea, Taiwan, Myanmar, Cambodia,
Laos, Bhutan, Maldives, Qatar, Kuwait, Bahrain, Oman, Yemen, Palestine, Panama, Guatemala, Honduras, Nicaragua, Jamaica, Haiti,
Bahamas, Barbados, Trinidad, Grenada, Dominica, Belize, Guyana, Suriname, Fiji, Samoa, Tonga, Tuvalu, Kiribati, Nauru, Palau,
Vanuatu, Micronesia, Monaco, Andorra, Liechtenstein, Vatican, England, Scotland, Wales, Britain, Greenland, Brunei, Seychelles,
Comoros, Mauritania, Eswatini, Burma, Czechia, Holland, Aruba, Bermuda, United States, United Kingdom, Saudi Arabia, New Zealand,
South Africa, South Korea, North Korea, Sri Lanka, Costa Rica, El Salvador, Ivory Coast, Sierra Leone, Burkina Faso, Cape Verde,
San Marino, Papua New Guinea, Solomon Islands, Equatorial Guinea, Dominican Republic, Antigua, Saint Lucia, East Timor
"""

_ANIMALS = """
dog, cat, horse, cow, pig, sheep, bird, fish, lion, tiger, bear, wolf, fox, rabbit, mouse, monkey, elephant, snake, frog, duck,
chicken, goat, deer, rat, whale, shark, dolphin, eagle, turtle, camel, donkey, bee, ant, spider, butterfly, penguin, crab, owl,
bat, bull, ape, hen, goose, turkey, squirrel, hamster, beaver, otter, seal, moose, elk, bison, buffalo, zebra, giraffe, leopard,
panther, cheetah, jaguar, lynx, cougar, hyena, jackal, coyote, raccoon, badger, weasel, ferret, mole, hedgehog, hare, gorilla,
chimpanzee, baboon, lemur, sloth, koala, kangaroo, panda, walrus, octopus, squid, lobster, shrimp, clam, oyster, snail, slug,
worm, beetle, fly, mosquito, moth, cricket, grasshopper, wasp, hornet, scorpion, lizard, gecko, iguana, crocodile, alligator,
tortoise, toad, salamander, newt, salmon, trout, tuna, cod, carp, pike, eel, herring, sardine, hawk, falcon, vulture, raven,
crow, sparrow, robin, swan, pigeon, dove, parrot, peacock, ostrich, emu, flamingo, stork, heron, crane, pelican, gull, swallow,
finch, canary, quail, pheasant, ram, ewe, lamb, calf, foal, pony, mule, ox, boar, hippopotamus, rhinoceros, antelope, gazelle,
llama, alpaca, yak, tapir, armadillo, porcupine, opossum, skunk, wolverine, mink, puma, dragonfly, ladybug, termite, flea, tick,
louse, jellyfish, starfish, seahorse, stingray, barracuda, piranha, kitten, puppy
"""

_COLORS = """
red, blue, green, yellow, black, white, orange, purple, brown, pink, gray, gold, silver, violet, cyan, magenta, crimson, scarlet,
maroon, navy, teal, turquoise, indigo, beige, ivory, amber, emerald, olive, lime, coral, salmon, peach, lavender, lilac, plum,
burgundy, ruby, sapphire, jade, bronze, copper, charcoal, cream, tan, khaki, mustard, rust, rose, azure, aqua, mint, cobalt,
fuchsia, mauve, ochre, sepia, vermilion, cerulean, chartreuse, auburn, chestnut, cherry, chocolate, coffee, caramel, honey,
lemon, apricot, mahogany, ebony, slate, steel, pearl, sand, snow, wine, denim, taupe, umber, sienna, puce, russet, ecru, celadon,
carmine, cinnamon, saffron, tangerine, raspberry, strawberry, eggplant, moss, pine, forest, sky, midnight, platinum, brass,
pewter, cinnabar, periwinkle, ultramarine, viridian, aquamarine, topaz, amethyst, garnet, onyx, obsidian, blonde, ginger
"""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.replace("\n", " ").split(",") if name.strip())


NAMES: dict[str, tuple[str, ...]] = {"country": _listed(_COUNTRIES), "animal": _listed(_ANIMALS), "color": _listed(_COLORS)}
"""Names by list; the first ones that are one token in their place are taken, so the order matters."""
